// Package inject answers what must change in a pod so that its containers take
// an IAM role: a pure function from a pod, its service account and settings to
// a JSON Patch.
//
// It knows no HTTP, informers or clock, and only the web-identity form (IRSA);
// the names and quirks are those of spec webhook. Where an identity comes from is
// the caller's: another source than annotations fills an Account too.
package inject

import (
	"encoding/json"
	"fmt"

	// encoding/json would take "Containers" for "containers"; this is the
	// decoding that the API server itself does.
	kjson "sigs.k8s.io/json"
)

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
	// Conformance repeats quirks of the reference that are harmful: names in
	// skip-containers are not trimmed, foreign volumes and mount paths are not
	// noticed, whole lists are replaced (spec webhook §14).
	Conformance bool
}

// Defaults returns the settings of the reference (spec webhook §11).
func Defaults() Settings {
	return Settings{
		Prefix: "eks.amazonaws.com", Audience: "sts.amazonaws.com", Expiration: defaultExpiration,
		MountPath: "/var/run/secrets/eks.amazonaws.com/serviceaccount",
	}
}

const (
	defaultExpiration = 86400
	minExpiration     = 600
	volumeName        = "aws-iam-token"
	tokenFile         = "token"
	// SkipLabel on a pod keeps the webhook away from it.
	SkipLabel = "eks.amazonaws.com/skip-pod-identity-webhook"
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

// WebIdentity is IRSA: the SDK exchanges the projected token at STS.
const WebIdentity Method = "sts_web_identity"

// Result is what must change.
type Result struct {
	// Patch is empty if nothing must change.
	Patch []Operation
	// Method is empty if nothing must change.
	Method Method
	// Reason says why, in a few words for logs.
	Reason string
	// Warnings are for the pod's author.
	Warnings []string
}

// pod is what is looked at; everything else is not even decoded.
type pod struct {
	Metadata struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		ServiceAccountName string            `json:"serviceAccountName"`
		NodeSelector       map[string]string `json:"nodeSelector"`
		OS                 *podOS            `json:"os"`
		Affinity           *affinity         `json:"affinity"`
		Volumes            *[]volume         `json:"volumes"`
		Containers         []json.RawMessage `json:"containers"`
		InitContainers     []json.RawMessage `json:"initContainers"`
	} `json:"spec"`
}

type podOS struct {
	Name string `json:"name"`
}

type volume struct {
	Name      string `json:"name"`
	Projected *struct {
		Sources []struct {
			ServiceAccountToken *struct {
				Path string `json:"path"`
			} `json:"serviceAccountToken"`
		} `json:"sources"`
	} `json:"projected"`
}

// container is what is looked at of a container.
type container struct {
	Name string `json:"name"`
	Env  *[]struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"env"`
	VolumeMounts *[]struct {
		Name      string `json:"name"`
		MountPath string `json:"mountPath"`
	} `json:"volumeMounts"`
}

// ServiceAccountName returns a pod's service account as it stands, without
// decoding the rest of it, and whether it has the skip label. An empty name
// stays empty: mirror pods have none and must not be touched (spec webhook §4).
func ServiceAccountName(podJSON []byte) (name string, skip bool, err error) {
	var p struct {
		Metadata struct {
			Labels map[string]json.RawMessage `json:"labels"`
		} `json:"metadata"`
		Spec struct {
			ServiceAccountName string `json:"serviceAccountName"`
		} `json:"spec"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(podJSON, &p); err != nil {
		return "", false, fmt.Errorf("decode pod: %w", err)
	}
	_, skip = p.Metadata.Labels[SkipLabel]
	return p.Spec.ServiceAccountName, skip, nil
}

// Pod says what must change in a pod (JSON) of the given service account.
func Pod(podJSON []byte, account Account, settings Settings) (*Result, error) {
	if account.Role == "" {
		return &Result{Reason: "the service account has no role"}, nil
	}
	var p pod
	if err := kjson.UnmarshalCaseSensitivePreserveInts(podJSON, &p); err != nil {
		return nil, fmt.Errorf("decode pod: %w", err)
	}
	if _, skip := p.Metadata.Labels[SkipLabel]; skip {
		return &Result{Reason: "the pod has the label " + SkipLabel}, nil
	}
	m := &mutation{settings: settings, account: account, pod: &p, result: &Result{}}
	m.result.Warnings = append(m.result.Warnings, account.Warnings...)
	m.readAnnotations()
	if !m.checkVolume() {
		return m.result, nil
	}
	if err := m.containers(); err != nil {
		return nil, err
	}
	m.finish()
	return m.result, nil
}
