package door

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/auditchain"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/broker/session"
	"github.com/rolecall/rolecall/internal/broker/workload"
)

// Record is what the audit says of one decision (spec podidentity §19.9). It has
// no token and no secret; the access key ID is in full, since CloudTrail has it.
type Record struct {
	Time         time.Time `json:"time"`
	Event        string    `json:"event"`
	RequestID    string    `json:"requestID"`
	AWSRequestID string    `json:"awsRequestID,omitempty"`
	Decision     string    `json:"decision"` // issued, refused; for the EKS API done or refused
	Code         string    `json:"code,omitempty"`
	Reason       string    `json:"reason,omitempty"`
	Cluster      string    `json:"cluster"`
	Node         string    `json:"node,omitempty"`
	Caller       string    `json:"caller,omitempty"`
	Source       string    `json:"source,omitempty"`

	Namespace         string `json:"namespace,omitempty"`
	ServiceAccount    string `json:"serviceAccount,omitempty"`
	ServiceAccountUID string `json:"serviceAccountUID,omitempty"`
	Pod               string `json:"pod,omitempty"`
	PodUID            string `json:"podUID,omitempty"`
	TokenID           string `json:"tokenID,omitempty"`
	KeyID             string `json:"kid,omitempty"`
	VerifiedBy        string `json:"verifiedBy,omitempty"`

	AssociationID      string                   `json:"associationID,omitempty"`
	AssociationVersion int64                    `json:"associationVersion,omitempty"`
	Mode               v1alpha1.AssociationMode `json:"mode,omitempty"`
	Role               string                   `json:"role,omitempty"`
	TargetRole         string                   `json:"targetRole,omitempty"`
	PolicySHA256       string                   `json:"policySHA256,omitempty"`

	SessionName      string       `json:"sessionName,omitempty"`
	AssumedRoleID    string       `json:"assumedRoleID,omitempty"`
	AccessKeyID      string       `json:"accessKeyID,omitempty"`
	Issued           *time.Time   `json:"issued,omitempty"`
	Expires          *time.Time   `json:"expires,omitempty"`
	Tags             []awsapi.Tag `json:"tags,omitempty"`
	PackedPolicySize int          `json:"packedPolicySize,omitempty"`
	Milliseconds     float64      `json:"milliseconds"`
}

// About adds whose token it was.
func (r *Record) About(i *workload.Identity) {
	r.Namespace, r.ServiceAccount, r.ServiceAccountUID = i.Namespace, i.ServiceAccount, i.ServiceAccountUID
	r.Pod, r.PodUID, r.TokenID, r.KeyID, r.VerifiedBy = i.Pod, i.PodUID, i.TokenID, i.KeyID, i.By
}

// Of adds the association.
func (r *Record) Of(cluster *association.Cluster, a *v1alpha1.PodIdentityAssociation, mode v1alpha1.AssociationMode) {
	r.Cluster, r.AssociationID, r.AssociationVersion = cluster.Name, association.ID(a), a.Generation
	r.Mode, r.Role, r.TargetRole = mode, a.Spec.RoleARN, a.Spec.TargetRoleARN
	if a.Spec.SessionPolicy != "" {
		sum := sha256.Sum256([]byte(a.Spec.SessionPolicy))
		r.PolicySHA256 = hex.EncodeToString(sum[:])
	}
}

// Got adds the session.
func (r *Record) Got(s *session.Session) {
	issued, expires := s.Issued.UTC(), s.Credentials.Expires.UTC()
	r.SessionName, r.AssumedRoleID, r.AccessKeyID, r.AWSRequestID = s.Name, s.ID, s.Credentials.AccessKeyID, s.RequestID
	r.Issued, r.Expires, r.Tags, r.PackedPolicySize = &issued, &expires, s.Tags, s.PackedPolicySize
}

// Audit writes records, a line of JSON each.
type Audit struct {
	// Failed is called when a record could not be written.
	Failed func(error)
	// Chain ties each record to the one before; nil ties none.
	Chain *auditchain.Chain

	mu  sync.Mutex
	out io.Writer
	cut bool // the last line was not written to its end
}

// NewAudit writes to out, which it alone must write to.
func NewAudit(out io.Writer, failed func(error)) *Audit { return &Audit{Failed: failed, out: out} }

func (a *Audit) write(r *Record) {
	text, err := json.Marshal(r)
	if err == nil {
		err = a.line(text)
	}
	if err != nil {
		a.Failed(err)
	}
}

// line writes one. A record that cannot be written keeps its place in the chain,
// so that it is seen to be missing.
func (a *Audit) line(text []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Chain != nil {
		text = a.Chain.Seal(text)
	}
	text = append(text, '\n')
	if a.cut {
		text = append([]byte{'\n'}, text...) // what was cut off must not spoil this one too
	}
	written, err := a.out.Write(text)
	a.cut = err != nil && (a.cut || written > 0)
	return err
}
