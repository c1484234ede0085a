package plane

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rolecall/rolecall/internal/issuer/server"
	"github.com/rolecall/rolecall/internal/token"
)

const (
	// NodeName is the one node of a plane: this machine.
	NodeName  = "rolecall-local"
	maxPods   = 1000
	maxObject = 1 << 20 // bytes of JSON
)

// pods are the pods a plane knows to be there: what kube-apiserver's paths say
// to its owner, and what tokens are bound to. There is one node, so they are
// scheduled as they are created.
type pods struct {
	node token.Reference
	// put and removed are told of each pod.
	put, removed func(*corev1.Pod) error

	mu    sync.RWMutex
	known map[types.NamespacedName]*corev1.Pod
}

func newPods() *pods {
	return &pods{
		node:  token.Reference{Name: NodeName, UID: uuid.NewString()},
		known: map[types.NamespacedName]*corev1.Pod{},
	}
}

// get returns a pod that must not be changed.
func (p *pods) get(namespace, name string) (*corev1.Pod, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	pod, found := p.known[types.NamespacedName{Namespace: namespace, Name: name}]
	return pod, found
}

// bound is get for tokens.
func (p *pods) bound(namespace, name string) (server.BoundPod, bool) {
	pod, found := p.get(namespace, name)
	if !found {
		return server.BoundPod{}, false
	}
	return server.BoundPod{UID: string(pod.UID), ServiceAccount: pod.Spec.ServiceAccountName, Node: p.node}, true
}

func (p *pods) create(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxObject))
	if err != nil {
		answerStatus(w, http.StatusRequestEntityTooLarge, metav1.StatusReasonRequestEntityTooLarge,
			"the pod is too large or was cut off")
		return
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(body, pod); err != nil || pod.Name == "" {
		answerStatus(w, http.StatusBadRequest, metav1.StatusReasonBadRequest,
			"the body is not a Pod with a name, in JSON")
		return
	}
	pod.Namespace, pod.UID, pod.Spec.NodeName = r.PathValue("namespace"), types.UID(uuid.NewString()), p.node.Name
	pod.CreationTimestamp, pod.Status.Phase = metav1.Now(), corev1.PodRunning
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = "default"
	}
	if err := p.add(pod); err != nil {
		answerStatus(w, http.StatusConflict, metav1.StatusReasonAlreadyExists, err.Error())
		return
	}
	answerJSON(w, http.StatusCreated, pod)
}

func (p *pods) add(pod *corev1.Pod) error {
	name := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, found := p.known[name]; found {
		return errors.New(`pods "` + pod.Name + `" already exists`)
	}
	if len(p.known) >= maxPods {
		return errors.New("the plane keeps no more than 1000 pods; delete some")
	}
	p.known[name] = pod
	return p.put(pod)
}

func (p *pods) remove(w http.ResponseWriter, r *http.Request) {
	name := types.NamespacedName{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
	p.mu.Lock()
	pod, found := p.known[name]
	delete(p.known, name)
	var err error
	if found {
		err = p.removed(pod)
	}
	p.mu.Unlock()
	switch {
	case !found:
		answerStatus(w, http.StatusNotFound, metav1.StatusReasonNotFound, `pods "`+name.Name+`" not found`)
		return
	case err != nil:
		answerFault(w, err)
		return
	}
	answerJSON(w, http.StatusOK, pod)
}

func answerStatus(w http.ResponseWriter, code int, reason metav1.StatusReason, message string) {
	answerJSON(w, code, &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		//nolint:gosec // an HTTP status
		Status: metav1.StatusFailure, Message: message, Reason: reason, Code: int32(code),
	})
}

func answerJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}
