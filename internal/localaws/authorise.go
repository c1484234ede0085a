package localaws

import (
	"net/http"

	"github.com/rolecall/rolecall/internal/localaws/caller"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

// authorise decides by the caller's policies and the target's. A nil find means
// that the operation has no particular target.
func (s *Server) authorise(a *ask, action string, find func(*service.Call) (service.Target, error)) error {
	target := service.Target{ARN: "*"}
	if find != nil {
		var err error
		if target, err = find(&a.Call); err != nil {
			return err
		}
	}
	return s.decide(a, action, target)
}

// decide decides one action on one target.
func (s *Server) decide(a *ask, action string, target service.Target) error {
	if target.Owner == "" && a.Account != nil {
		target.Owner = a.Account.ID
	}
	who := a.Caller
	keys := caller.RequestContext(a.HTTP, a.Region, a.Time).Set("aws:ResourceAccount", target.Owner)
	who.AddContext(keys)
	for _, tag := range target.Tags {
		keys.Set("aws:ResourceTag/"+tag.Key, tag.Value)
	}
	for key, text := range target.Context {
		keys.Set(key, text)
	}
	for key, texts := range target.Lists {
		keys.SetMulti(key, texts)
	}
	request := &policy.Request{
		Principal:       who.Principal,
		Action:          action,
		Resource:        target.ARN,
		ResourceAccount: target.Owner,
		Context:         keys,
	}
	policies := who.Policies()
	policies.Resource = target.Policy
	decision := policy.Decide(request, policies)
	if decision.Effect == policy.Allowed {
		return nil
	}
	if who.Principal.Kind == policy.Anonymous {
		return wire.Errorf(http.StatusForbidden, "AccessDenied", "Access Denied").
			Explained(policy.Explain(request, policies))
	}
	shown := target.ARN
	if a.protocol() == wire.S3 {
		shown = `"` + shown + `"`
	}
	return who.Denied(action, shown, decision, policy.Explain(request, policies))
}

// decideOnly answers a call that nothing here can perform: with the decision of
// the caller's policies or, if they allow it, by saying that it is not
// emulated. The target of the call is not known, so only policies for all
// resources allow it.
func (s *Server) decideOnly(a *ask) error {
	action := a.action()
	unknown := ""
	if !validName.MatchString(a.Operation) {
		unknown = a.HTTP.Method + " " + a.Path
	}
	if err := s.authorise(a, action, nil); err != nil {
		if refused, ok := err.(*wire.Error); ok { //nolint:errorlint // made by authorise
			refused.Reason += ". The call is not emulated: which resource it is about is not known here, " +
				"so it was decided for all resources"
			if unknown != "" {
				refused.Reason += "; which action " + unknown +
					" is, is not known either, so it was decided for all of them"
			}
			return a.addEncoded(refused)
		}
		return err
	}
	if unknown != "" {
		return wire.Errorf(
			http.StatusNotImplemented, "NotImplemented",
			"allowed, but not emulated: %s, by %s; which action that is, is not known here", action, unknown,
		)
	}
	return wire.Errorf(http.StatusNotImplemented, "NotImplemented", "allowed, but not emulated: %s", action)
}
