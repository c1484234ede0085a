// Package inject answers what must change in a pod so that its containers get
// an IAM role: a pure function from a pod, its identity and settings to a JSON
// Patch.
//
// It knows no HTTP, informers or clock, and picks no random numbers; the names
// and quirks are those of spec webhook. Where an identity comes from is up to
// the caller: annotations, a ConfigMap and a list of identities all become an
// Account.
package inject

import "fmt"

// Settings are the webhook's own, from its flags. Use Defaults.
type Settings struct {
	// Prefix of all annotations.
	Prefix string
	// Audience, Expiration (seconds), RegionalSTS are used where the service
	// account says nothing.
	Audience    string
	Expiration  int64
	RegionalSTS bool
	// MountPath is where the token's volume is mounted.
	MountPath string
	// Region is set in containers that have none; empty sets none.
	Region string
	// ComposeAccount and ComposePartition, if the account is set, make an ARN of
	// a role annotation that is only a name or a path (spec webhook §7.3).
	ComposeAccount, ComposePartition string
	// Container is for pods that get credentials from the Pod Identity agent.
	Container ContainerSettings
	// ConfigGlobs lets the namespace of a ConfigMap's key be a pattern.
	ConfigGlobs bool
	// SessionFromPod names role sessions after their pods.
	SessionFromPod bool
	// Conformance repeats quirks of the reference that are harmful: names in
	// skip-containers are not trimmed, foreign volumes and mount paths are not
	// noticed, whole lists are replaced (spec webhook §14).
	Conformance bool
}

// ContainerSettings are those of Pod Identity, "container credentials" (spec
// webhook §8.2). Nothing but the flags sets them.
type ContainerSettings struct {
	Audience, MountPath, VolumeName, TokenFile string
	// URI is where the agent answers.
	URI string
}

// Defaults returns the settings of the reference (spec webhook §11).
func Defaults() Settings {
	return Settings{
		Prefix:     "eks.amazonaws.com",
		Audience:   "sts.amazonaws.com",
		Expiration: defaultExpiration,
		MountPath:  "/var/run/secrets/eks.amazonaws.com/serviceaccount",
		Container: ContainerSettings{
			Audience:   "pods.eks.amazonaws.com",
			MountPath:  "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount",
			VolumeName: "eks-pod-identity-token",
			TokenFile:  "eks-pod-identity-token",
			URI:        "http://169.254.170.23/v1/credentials",
		},
	}
}

const (
	defaultExpiration = 86400
	minExpiration     = 600
	// MaxJitter is the most, in seconds, by which the default lifetime of Pod
	// Identity's tokens is shortened (spec webhook §8.3).
	MaxJitter = 7200
	// SkipLabel on a pod keeps the webhook away from it.
	SkipLabel = "eks.amazonaws.com/skip-pod-identity-webhook"
	// identityLabel marks pods of Pod Identity, whatever the prefix.
	identityLabel = "eks.amazonaws.com/pod-identity"
)

// Operation is one operation of a JSON Patch (RFC 6902).
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// Method is how a pod's containers get credentials, by the names that the
// reference's metrics have (spec webhook §13).
type Method string

const (
	// WebIdentity is IRSA: the SDK exchanges the projected token at STS.
	WebIdentity Method = "sts_web_identity"
	// ContainerCredentials is Pod Identity: an agent exchanges it.
	ContainerCredentials Method = "container_credentials"
)

// Result is what must change.
type Result struct {
	// Patch is empty if nothing must change.
	Patch []Operation
	// Method is empty if nothing must change.
	Method Method
	// Reason says why, in a few words for logs.
	Reason string
	// Missed says that the pod is meant to have credentials, and why one or
	// all of its containers would not get them.
	Missed string
	// Given is how many containers get the identity, or have it already.
	Given int
	// Own says which containers have variables of their own and do not get the identity;
	// empty if none has.
	Own string
	// Warnings are for the pod's author.
	Warnings []string
}

// Pod says what must change in a pod (JSON) of the given identity.
func Pod(podJSON []byte, account Account, settings Settings) (*Result, error) {
	if account.method() == "" {
		return &Result{Reason: "the service account has no role", Warnings: Unread(podJSON, &account, settings)}, nil
	}
	p, err := decodePod(podJSON)
	if err != nil {
		return nil, fmt.Errorf("decode pod: %w", err)
	}
	if p.skip {
		return &Result{Reason: "the pod has the label " + SkipLabel}, nil
	}
	m := &mutation{settings: &settings, account: &account, pod: p, result: &Result{}}
	m.how = settings.delivery(&account)
	m.result.Warnings = append(m.result.Warnings, account.Warnings...)
	if !account.Container {
		m.result.Warnings = append(m.result.Warnings, unreadOfPod(p.annotations, account.Role, settings.Prefix)...)
	}
	m.readAnnotations()
	if !m.checkVolume() {
		return m.result, nil
	}
	m.containers()
	m.finish()
	return m.result, nil
}
