package workload_test

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/rolecall/rolecall/internal/broker/workload"
)

// TestFollowed: what is in the cluster is known once it has been read, and what
// comes later soon after.
func TestFollowed(t *testing.T) {
	t.Parallel()
	const id = "i-0123456789abcdef0"
	pod := func(name, node string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
			Spec:       corev1.PodSpec{ServiceAccountName: "cart", NodeName: node},
		}
	}
	client := fake.NewClientset(
		pod("cart-0", "n1"),
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"}},
		&corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: "n1"},
			Spec:       corev1.NodeSpec{ProviderID: "aws:///eu-west-1a/" + id},
		},
	)
	objects, nodes := workload.NewObjects(client, time.Now), workload.NewNodes(client, workload.Auto, time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- objects.Run(ctx) }()
	go func() { ended <- nodes.Run(ctx) }()
	for _, synced := range append(objects.Synced(), nodes.Synced()) {
		<-synced
	}
	uses := func(node string) bool {
		yes, known := objects.UsesOn(node, "shop", func(account string) bool { return account == "cart" })
		return yes && known
	}
	if !uses("n1") || uses("n2") || !objects.Fresh(time.Hour) {
		t.Errorf("n1 %t, n2 %t; want the pod on n1 only", uses("n1"), uses("n2"))
	}
	if name, err := nodes.OfInstance(ctx, id); name != "n1" || err != nil {
		t.Errorf("node %q, %v", name, err)
	}
	if _, err := client.CoreV1().Pods("shop").Create(ctx, pod("cart-1", "n2"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for !uses("n2") {
		select {
		case <-t.Context().Done():
			t.Fatal("a pod that was created is not known")
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
