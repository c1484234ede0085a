package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Issuer publishes the keys of a cluster's service-account tokens where AWS can
// read them, keeps IAM's OIDC provider in step, and walks key rotations.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=rolecall
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=".spec.url"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="Rotation",type=string,JSONPath=".status.rotation.phase"
// +kubebuilder:printcolumn:name="Keys",type=string,priority=1,JSONPath=".spec.rotation.keyKind"
// +kubebuilder:printcolumn:name="Published",type=date,JSONPath=".status.publishedAt"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=".metadata.creationTimestamp"
type Issuer struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +required
	Spec IssuerSpec `json:"spec"`
	// +optional
	Status IssuerStatus `json:"status,omitempty"`
}

// IssuerSpec is what is wanted.
type IssuerSpec struct {
	// URL is the issuer of the tokens, without a slash at its end: the iss claim,
	// and for AWS the provider's URL.
	//
	// +required
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^https://[^/?#]+(/[^?#]*[^/?#])?$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="an issuer's URL cannot be changed: make a second Issuer, and remove this one when no token of it is left"
	URL string `json:"url"`
	// Publish says where the discovery document and the keys go.
	//
	// +required
	Publish PublishTarget `json:"publish"`
	// Providers are the IAM OIDC providers to keep in step, one for each
	// account.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=50
	Providers []IAMProvider `json:"providers,omitempty"`
	// APIServers are the URLs of all API servers, one for each. If empty they
	// are those behind the Service default/kubernetes.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=20
	APIServers []string `json:"apiServers,omitempty"`
	// Probe says which tokens are requested to see what an API server signs with.
	//
	// +optional
	// +kubebuilder:default={serviceAccount: {namespace: default, name: default}}
	Probe Probe `json:"probe,omitempty"`
	// Rotation renews the signing key. Without it keys are followed, not made.
	//
	// +optional
	Rotation *Rotation `json:"rotation,omitempty"`
}

// Probe is a token that is requested and not kept.
type Probe struct {
	// +required
	ServiceAccount ObjectName `json:"serviceAccount"`
	// RoleARN is a role that trusts the service account. If it is named, tokens of
	// a new key must be accepted by STS before the old key is let go.
	//
	// +optional
	RoleARN string `json:"roleARN,omitempty"`
}

// PublishTarget is one place.
//
// +kubebuilder:validation:XValidation:rule="[has(self.s3), has(self.configMap), has(self.directory)].filter(x, x).size() == 1",message="want exactly one of s3, configMap and directory"
type PublishTarget struct {
	// +optional
	S3 *S3Target `json:"s3,omitempty"`
	// ConfigMap is for issuers that `rolecall serve issuer` or an ingress serves.
	//
	// +optional
	ConfigMap *ObjectName `json:"configMap,omitempty"`
	// Directory is a folder that the controller writes to, for servers of your
	// own.
	//
	// +optional
	Directory *Directory `json:"directory,omitempty"`
	// JWKSPath is where the keys are below the URL.
	//
	// +optional
	// +kubebuilder:default="openid/v1/jwks"
	// +kubebuilder:validation:MaxLength=200
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$`
	JWKSPath string `json:"jwksPath,omitempty"`
	// EmptyKIDs repeats each key under an empty kid, for tokens of API servers
	// before Kubernetes 1.16.
	//
	// +optional
	EmptyKIDs bool `json:"emptyKIDs,omitempty"`
	// MaxAgeSeconds is how long readers may keep the keys.
	//
	// +optional
	// +kubebuilder:default=300
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=3600
	MaxAgeSeconds int32 `json:"maxAgeSeconds,omitempty"`
}

// S3Target is a prefix in a bucket.
type S3Target struct {
	// +required
	// +kubebuilder:validation:Pattern=`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`
	Bucket string `json:"bucket"`
	// +required
	// +kubebuilder:validation:Pattern=`^[a-z]{2,4}(-[a-z]+)?-(central|north|south|east|west|northeast|northwest|southeast|southwest)-[0-9]{1,2}$`
	Region string `json:"region"`
	// Owner is the account that must own the bucket; that of the credentials if empty.
	// Nothing is read from the bucket of another account, or written to it.
	//
	// +optional
	// +kubebuilder:validation:Pattern=`^[0-9]{12}$`
	Owner string `json:"owner,omitempty"`
	// Prefix has no slash at its ends; it is the path of the URL for virtual
	// hosts.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=200
	Prefix string `json:"prefix,omitempty"`
}

// Directory is a folder.
type Directory struct {
	// +required
	// +kubebuilder:validation:MinLength=1
	Path string `json:"path"`
}

// ObjectName names a namespaced object.
type ObjectName struct {
	// +required
	// +kubebuilder:validation:MinLength=1
	Namespace string `json:"namespace"`
	// +required
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
}

// IAMProvider is the issuer's OIDC provider in one account.
type IAMProvider struct {
	// ClientIDs are the audiences that STS accepts.
	//
	// +optional
	// +listType=set
	// +kubebuilder:default={"sts.amazonaws.com"}
	// +kubebuilder:validation:MaxItems=100
	ClientIDs []string `json:"clientIDs,omitempty"`
	// RoleARN is assumed to reach another account; the controller's own
	// identity is used if empty.
	//
	// +optional
	RoleARN string `json:"roleARN,omitempty"`
	// Thumbprints are only for certificates that are not publicly trusted.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=5
	Thumbprints []string `json:"thumbprints,omitempty"`
}

// Rotation is when and how keys are renewed.
type Rotation struct {
	// Every is the age at which a key is replaced.
	//
	// +required
	Every metav1.Duration `json:"every"`
	// DrainFor is how long an old key stays published after signing has switched:
	// at least the longest lifetime of a token.
	//
	// +optional
	// +kubebuilder:default="24h10m"
	DrainFor metav1.Duration `json:"drainFor,omitempty"`
	// CacheFor is the longest time that anybody may use cached keys.
	//
	// +optional
	// +kubebuilder:default="2h"
	CacheFor metav1.Duration `json:"cacheFor,omitempty"`
	// Leaked are the kids of keys that have leaked. If the API servers sign with
	// one, it is replaced at once, and nothing waits for caches and tokens; one that
	// no API server signs with is not published, though they may accept it.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:MaxLength=200
	Leaked []string `json:"leaked,omitempty"`
	// Secret holds what the rotation changes in the API servers' files: sa.pub, all
	// keys to accept, from the first rotation on; next.key, the new key until it
	// signs; sa.key, the key that signs, from phase Signing of the first rotation
	// on, since until then the API servers alone have it. They are copied when the
	// API servers are rolled.
	//
	// +required
	Secret ObjectName `json:"secret"`
	// KeyKind is the kind of the keys that are made: RSA, of 2048 bits, or P-256.
	// A change takes effect when the next key is made; the present ones stay.
	//
	// +optional
	// +kubebuilder:default=RSA
	// +kubebuilder:validation:MaxLength=10
	// +kubebuilder:validation:XValidation:rule="self in ['RSA', 'P-256']",message="want RSA or P-256: STS verifies no other kind of key that API servers can sign with"
	KeyKind KeyKind `json:"keyKind,omitempty"`
}

// KeyKind is a kind of key.
type KeyKind string

// The kinds of key.
const (
	RSA  KeyKind = "RSA"
	P256 KeyKind = "P-256"
)

// Phase is a step of a rotation (spec issuer-and-sts §7).
//
// +kubebuilder:validation:Enum=Stable;KeyCreated;Published;Verifying;Signing;Draining;Retiring
type Phase string

// The phases, in their order.
const (
	Stable     Phase = "Stable"     // one key signs and is published
	KeyCreated Phase = "KeyCreated" // a second key exists, nothing uses it
	Published  Phase = "Published"  // both are published
	Verifying  Phase = "Verifying"  // every API server accepts both
	Signing    Phase = "Signing"    // the new one signs everywhere
	Draining   Phase = "Draining"   // tokens of the old one run out
	Retiring   Phase = "Retiring"   // the API servers drop the old one
)

// IssuerStatus is what was found and done.
type IssuerStatus struct {
	// Conditions: Ready, Published, Verified, ProvidersInStep.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Keys are those that are published.
	//
	// +optional
	// +listType=map
	// +listMapKey=kid
	Keys []KeyStatus `json:"keys,omitempty"`
	// +optional
	Rotation *RotationStatus `json:"rotation,omitempty"`
	// PublishedHash is that of the published keys.
	//
	// +optional
	PublishedHash string `json:"publishedHash,omitempty"`
	// +optional
	PublishedAt *metav1.Time `json:"publishedAt,omitempty"`
	// VerifiedAt is when what is published was last read back as STS does.
	//
	// +optional
	VerifiedAt *metav1.Time `json:"verifiedAt,omitempty"`
	// Providers are the ARNs of the providers that are in step.
	//
	// +optional
	// +listType=set
	Providers []string `json:"providers,omitempty"`
}

// KeyStatus is one key.
type KeyStatus struct {
	KID       string `json:"kid"`
	Algorithm string `json:"algorithm"`
	// Role is signing, verifying or published.
	Role      string      `json:"role"`
	FirstSeen metav1.Time `json:"firstSeen"`
}

// RotationStatus is how far a rotation is.
type RotationStatus struct {
	Phase Phase       `json:"phase"`
	Since metav1.Time `json:"since"`
	// +optional
	OldKID string `json:"oldKID,omitempty"`
	// +optional
	NewKID string `json:"newKID,omitempty"`
	// SeenAt is when both keys were first read back from where they are published.
	//
	// +optional
	SeenAt *metav1.Time `json:"seenAt,omitempty"`
	// SwitchedAt is when all API servers were first seen to sign with the new key.
	//
	// +optional
	SwitchedAt *metav1.Time `json:"switchedAt,omitempty"`
	// Exchanges counts the rounds, one after the other, in which STS has accepted
	// a token of the new key from each API server.
	//
	// +optional
	Exchanges int32 `json:"exchanges,omitempty"`
	// NextNotBefore is when the next step is safe, if that is a matter of time.
	//
	// +optional
	NextNotBefore *metav1.Time `json:"nextNotBefore,omitempty"`
	// Evidence says what made the last gate pass.
	//
	// +optional
	Evidence string `json:"evidence,omitempty"`
	// WaitingFor says what the next step needs, in a sentence.
	//
	// +optional
	WaitingFor string `json:"waitingFor,omitempty"`
}

// IssuerList is a list of issuers.
//
// +kubebuilder:object:root=true
type IssuerList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Issuer `json:"items"`
}
