package serve

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/events"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/grant"
)

// noGrantsAgain is for how long the loss of the last RoleGrant is not told again.
const noGrantsAgain = time.Minute

// tellGrants counts the RoleGrants that a server follows, and says loudly when there is
// none any more: without --require-grants everybody may use every role from then on. It
// comes before the source runs. A nil client writes no Events.
func (r *runner) tellGrants(
	sys cli.System, source *follow.Objects[grant.Grant, *grant.Set], client kubernetes.Interface, component string,
) error {
	emptied := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "rolecall_role_grants_emptied_total",
		Help: "How often the last RoleGrant went away.",
	})
	unread := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "rolecall_role_grants_unread_total",
		Help: "How often the API server did not show its RoleGrants; those known last count.",
	})
	for _, one := range []prometheus.Collector{emptied, unread, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rolecall_role_grants",
		Help: "RoleGrants that are known; without any, everybody may use every role unless --require-grants is set.",
	}, func() float64 { return float64(source.Current().Len()) })} {
		if err := r.registry.Register(one); err != nil {
			return err
		}
	}
	say := func(corev1.ObjectReference, string, string) {}
	if client != nil {
		writer := events.New(client, component, noGrantsAgain, sys.Now)
		r.add(writer.Run)
		say = func(about corev1.ObjectReference, reason, note string) {
			writer.Say(reason, events.Event{About: &about, Reason: reason, Action: "Grant", Note: note})
		}
	}
	source.Notify(func(change follow.Change[grant.Grant]) {
		if now := source.Current(); now.Len() == 0 && change.Deleted {
			emptied.Inc()
			note := now.WhyNone()
			r.log.Warn("the last RoleGrant is gone", "name", change.Object.Name, "consequence", note)
			say(corev1.ObjectReference{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "RoleGrant", Name: change.Object.Name,
			}, "NoRoleGrants", "the last RoleGrant is gone: "+note)
		}
	})
	source.NotifyFailure(func(err error) {
		unread.Inc()
		r.log.Warn("RoleGrants not read, those known last count", "known", source.Current().Len(), "error", err)
		say(corev1.ObjectReference{
			APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition", Name: "rolegrants.rolecall.io",
		}, "RoleGrantsUnread", "the API server does not show its RoleGrants; those known last count")
	})
	return nil
}
