//go:build e2e

package node_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestAgentMemory: with the sessions of as many pods as a node has, an agent needs no
// more memory than the guide's DaemonSet requests for it.
func TestAgentMemory(t *testing.T) {
	a := newAgents(t)
	a.untilOne("")
	agents := a.Processes("/rolecall", "serve", "agent", "--")
	if len(agents) != 1 {
		t.Fatalf("agents: %v", agents)
	}
	var id int
	for id = range agents {
	}
	set, err := a.Client.AppsV1().DaemonSets(system).Get(t.Context(), agentName, metav1.GetOptions{})
	must(t)(set, err)
	requested := set.Spec.Template.Spec.Containers[0].Resources.Requests.Memory()
	sessions := 0
	for _, pods := range []int{0, 50, 110} {
		for ; sessions < pods; sessions++ {
			token := a.token(a.waiting(sessions))
			a.Until("a pod has credentials", func(ctx context.Context) error { return ask(ctx, credentials, token) })
		}
		resident := a.resident(id)
		t.Logf("%d pods: %s", pods, resident)
		if kilobytes := resident["VmRSS"]; kilobytes<<10 > requested.Value() {
			t.Errorf("with %d pods it has %d KiB, and the guide requests %s", pods, kilobytes, requested)
		}
	}
}

// waiting makes a pod of the node that waits for a Secret that never comes, so that it
// needs no process.
func (a *agents) waiting(index int) *corev1.Pod {
	a.t.Helper()
	pod := newPod(fmt.Sprintf("cart-%d", index))
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{
		Name:         "never",
		VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "never"}},
	})
	container := &pod.Spec.Containers[0]
	container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: "never", MountPath: "/never"})
	return a.createPod(pod)
}

type kilobytes map[string]int64

// String has them in MiB.
func (k kilobytes) String() string {
	var text strings.Builder
	for _, name := range memory {
		fmt.Fprintf(&text, "%s %.1f MiB ", name, float64(k[name])/1024)
	}
	return strings.TrimSpace(text.String())
}

// memory are lines of a process's status: in all, its own, pages of its file, the most.
var memory = []string{"VmRSS", "RssAnon", "RssFile", "VmHWM"}

func (a *agents) resident(id int) kilobytes {
	a.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", id))
	must(a.t)(text, err)
	found := kilobytes{}
	for _, name := range memory {
		_, after, _ := strings.Cut(string(text), "\n"+name+":")
		var number int64
		if _, err := fmt.Sscan(after, &number); err != nil {
			a.t.Fatalf("%s of %d: %v", name, id, err)
		}
		found[name] = number
	}
	return found
}
