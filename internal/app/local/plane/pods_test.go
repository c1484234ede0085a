package plane_test

import (
	"testing"

	"github.com/rolecall/rolecall/internal/app/local/plane"
	"github.com/rolecall/rolecall/internal/fault"
)

// TestPods: a token is bound to a pod that is there, and to no other after it.
func TestPods(t *testing.T) {
	t.Parallel()
	running := start(t, "")
	defer stop(t, running)
	client := plane.NewClient(running.Endpoints())
	pod := []byte(`{"metadata":{"name":"p"},"spec":{"serviceAccountName":"s3-reader"}}`)
	created, err := client.CreatePod(t.Context(), "default", pod)
	if err != nil || created.UID == "" || created.Spec.NodeName != plane.NodeName {
		t.Fatalf("CreatePod = %+v, %v", created, err)
	}
	if _, err := client.CreatePod(t.Context(), "default", pod); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a second pod of the name: %v", err)
	}
	request := plane.TokenRequest{
		Namespace:      "default",
		ServiceAccount: "s3-reader",
		PodName:        "p",
		PodUID:         string(created.UID),
	}
	if _, _, err := client.Token(t.Context(), request); err != nil {
		t.Errorf("token of the pod: %v", err)
	}
	if err := client.DeletePod(t.Context(), "default", "p"); err != nil {
		t.Error(err)
	}
	if _, _, err := client.Token(t.Context(), request); fault.KindOf(err) != fault.NotFound {
		t.Errorf("token of a deleted pod: %v", err)
	}
	if err := client.DeletePod(t.Context(), "default", "p"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a pod deleted twice: %v", err)
	}
	if _, err := client.CreatePod(t.Context(), "default", pod); err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.Token(t.Context(), request); err == nil {
		t.Error("a token of the first pod was bound to the second")
	}
}
