package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// TaintKey is of the taint that keeps pods off a node whose agent has never been
// ready: they would find no agent, and some SDKs would then go on to the node's
// own role. Its effect is NoSchedule.
const TaintKey = "rolecall.io/agent-not-ready"

const (
	firstTaintPause = time.Second
	maxTaintPause   = time.Minute
)

// Taint removes the taint from the agent's own node, once.
type Taint struct {
	Client kubernetes.Interface
	Node   string
	// Ready are asked in turn until all succeed: is the agent there for pods?
	Ready []func(context.Context) error
	Log   *slog.Logger
}

// Run tries until the agent is ready and the taint is gone, or ctx is done. A
// node that is not ready yet, or a server that refuses, ends nothing: pods that
// run on the node are answered all the same.
func (t *Taint) Run(ctx context.Context) {
	said := ""
	for pause := firstTaintPause; ; pause = min(2*pause, maxTaintPause) {
		removed, err := t.try(ctx)
		switch {
		case err == nil:
			t.Log.Info("ready", "taint", TaintKey, "removed", removed)
			return
		case err.Error() != said && ctx.Err() == nil:
			said = err.Error()
			t.Log.Warn("pods are still kept off this node", "taint", TaintKey, "error", err)
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

func (t *Taint) try(ctx context.Context) (removed bool, err error) {
	for _, ready := range t.Ready {
		bounded, cancel := context.WithTimeout(ctx, probeTimeout)
		err := ready(bounded)
		cancel()
		if err != nil {
			return false, err
		}
	}
	return t.remove(ctx)
}

// remove patches the one element out of the list, and nothing if the list has
// changed since it was read: others keep taints there, too.
func (t *Taint) remove(ctx context.Context) (removed bool, err error) {
	nodes := t.Client.CoreV1().Nodes()
	node, err := nodes.Get(ctx, t.Node, metav1.GetOptions{})
	if err != nil {
		return false, fmt.Errorf("read node %s: %w", t.Node, err)
	}
	at := slices.IndexFunc(node.Spec.Taints, func(taint corev1.Taint) bool {
		return taint.Key == TaintKey && taint.Effect == corev1.TaintEffectNoSchedule
	})
	if at < 0 {
		return false, nil
	}
	path := fmt.Sprintf("/spec/taints/%d", at)
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value string `json:"value,omitempty"`
	}
	patch, err := json.Marshal([]operation{
		{"test", path + "/key", TaintKey}, {
			"test", path + "/effect", string(corev1.TaintEffectNoSchedule),
		}, {"remove", path, ""},
	})
	if err != nil {
		return false, err
	}
	if _, err := nodes.Patch(ctx, t.Node, types.JSONPatchType, patch, metav1.PatchOptions{}); err != nil {
		return false, fmt.Errorf("remove the taint from node %s: %w", t.Node, err)
	}
	return true, nil
}
