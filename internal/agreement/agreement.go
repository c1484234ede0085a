// Package agreement lets the roles of a cluster find out whether they agree about the
// plane: each writes into a ConfigMap which plane it was started with, and reads what the
// others wrote.
//
// Nothing is decided by it: somebody who may write it can make roles complain, and no
// more. A role that cannot read or write it says so and goes on.
package agreement

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/rolecall/rolecall/internal/planefile"
)

// Name is the ConfigMap's; its keys are the names of roles.
const Name = "rolecall-plane"

const (
	every   = 5 * time.Minute  // how often a role looks again
	timeout = 10 * time.Second // how long one look may take
	tries   = 3                // when another role writes at the same time
)

// Member is one role of the plane. All fields but Silent are needed.
type Member struct {
	// Role is its name, the same for all replicas: broker, webhook.
	Role string
	// Plane is the one it was started with.
	Plane *planefile.Plane
	// ConfigMaps are those of the plane's namespace.
	ConfigMaps typedcorev1.ConfigMapInterface
	// Silent members look at what others said and say nothing: agents, of which there
	// are many and which may write nothing.
	Silent bool
	Log    *slog.Logger
	// Disagreements is NewGauge's.
	Disagreements *prometheus.GaugeVec
}

// NewGauge makes the metric of Member: facts in which others differ, by role.
func NewGauge() *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "rolecall_plane_disagreements",
		Help: "Facts about the plane in which another role differs from this one.",
	}, []string{"with"})
}

// Disagreement is a fact in which another role differs.
type Disagreement struct {
	Role string
	planefile.Difference
}

// Run writes the plane of the member and reads what the others wrote, at once and then
// from time to time, until ctx is done. It never fails: what is not allowed or does not
// answer is logged, each complaint once.
func (m *Member) Run(ctx context.Context) error {
	said := map[string]bool{}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		found, err := m.look(ctx)
		if err == nil {
			m.complain(found, said)
		} else if ctx.Err() == nil && !said[err.Error()] {
			said[err.Error()] = true
			m.Log.Warn("cannot check that roles agree about the plane", "error", err, "hints", []string{
				"allow get, create and update of the ConfigMap " + Name + " to this role",
			})
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (m *Member) complain(found []Disagreement, said map[string]bool) {
	m.Disagreements.Reset()
	for _, one := range found {
		m.Disagreements.WithLabelValues(one.Role).Inc()
		if text := fmt.Sprint(one); !said[text] {
			said[text] = true
			m.Log.Error("roles disagree about the plane", "fact", string(one.Field), "ours", one.Ours,
				"theirs", one.Theirs, "role", one.Role,
				"hints", []string{"start both with the same --plane file, and without flags that say otherwise"})
		}
	}
}

// look compares, and writes the plane of the member if it has not been written
// yet.
func (m *Member) look(ctx context.Context) ([]Disagreement, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for try := 1; ; try++ {
		object, err := m.ConfigMaps.Get(ctx, Name, metav1.GetOptions{})
		missing := apierrors.IsNotFound(err)
		switch {
		case missing:
			object = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: Name}}
		case err != nil:
			return nil, fmt.Errorf("read the planes of the roles: %w", err)
		}
		found := m.compare(object.Data)
		err = m.say(ctx, object, missing)
		switch {
		case err == nil:
			return found, nil
		case try == tries || !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err):
			return found, fmt.Errorf("write the plane of this role: %w", err)
		}
	}
}

func (m *Member) say(ctx context.Context, object *corev1.ConfigMap, missing bool) error {
	text := string(m.Plane.Text())
	if m.Silent || object.Data[m.Role] == text {
		return nil
	}
	if object.Data == nil {
		object.Data = map[string]string{}
	}
	object.Data[m.Role] = text
	var err error
	if missing {
		_, err = m.ConfigMaps.Create(ctx, object, metav1.CreateOptions{})
	} else {
		_, err = m.ConfigMaps.Update(ctx, object, metav1.UpdateOptions{})
	}
	return err
}

func (m *Member) compare(data map[string]string) []Disagreement {
	var found []Disagreement
	for role, text := range data {
		if role == m.Role {
			continue
		}
		theirs, err := planefile.Parse(role, []byte(text))
		if err != nil { // of a newer version, or written by hand
			m.Log.Debug("the plane of a role cannot be read", "role", role, "error", err)
			continue
		}
		for _, difference := range planefile.Differences(m.Plane, theirs) {
			found = append(found, Disagreement{role, difference})
		}
	}
	slices.SortFunc(found, func(a, b Disagreement) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Field, b.Field))
	})
	return found
}
