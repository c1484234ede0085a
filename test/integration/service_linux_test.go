package integration_test

import (
	"net"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/rolecall/rolecall/test/cluster"
)

// TestCalledByService registers the webhook by its Service, as in a cluster: the
// API server finds the cluster IP by itself, and the certificate that the webhook
// made is for the Service's name. Cluster IPs are of 127.0.0.0/8 here, all of
// which Linux has on loopback; what listens there does what kube-proxy would.
func TestCalledByService(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{APIServerArgs: []string{"--service-cluster-ip-range=127.77.0.0/24"}})
	ctx := t.Context()
	if _, err := c.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "eks"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	const clusterIP = "127.77.0.77"
	service := newBalancerAt(t, net.JoinHostPort(clusterIP, "0"))
	_, text, err := net.SplitHostPort(service.address())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	port := int32(number)
	if _, err := c.Client.CoreV1().Services("eks").Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "pod-identity-webhook"},
		Spec:       corev1.ServiceSpec{ClusterIP: clusterIP, Ports: []corev1.ServicePort{{Port: port}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	first, second := startReplica(t, c, "", "--webhook-url", ""), startReplica(t, c, "", "--webhook-url", "")
	service.set(first.address, second.address)
	// Port 443 is not everybody's to listen on; the rest stays as it was registered.
	configurations := c.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	if err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		configuration, err := configurations.Get(ctx, "pod-identity-webhook", metav1.GetOptions{})
		if err != nil {
			return err
		}
		reference := configuration.Webhooks[0].ClientConfig.Service
		if reference == nil || reference.Name != "pod-identity-webhook" || reference.Namespace != "eks" ||
			*reference.Path != "/mutate" || *reference.Port != 443 {
			t.Fatalf("registered as %+v", reference)
		}
		reference.Port = &port
		_, err = configurations.Update(ctx, configuration, metav1.UpdateOptions{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	waitUntilCalled(t, c)
	first.stop(t)
	second.stop(t)
}
