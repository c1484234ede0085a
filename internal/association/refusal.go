package association

import (
	"errors"
	"fmt"

	"github.com/rolecall/rolecall/internal/fault"
)

// Why a request was refused; each stands for exceptions of the EKS API (spec
// podidentity §13.3). Test with errors.Is.
var (
	// ErrInvalid is InvalidParameterException; BadRequestException of the
	// operations for tags.
	ErrInvalid = errors.New("invalid parameter")
	// ErrTokenReused, ErrUnchanged and ErrPageToken are InvalidParameterException
	// too: a client request token that came with other parameters before, an
	// update that changes nothing, a nextToken that is not one of ours.
	ErrTokenReused = errors.New("client request token used before")
	ErrUnchanged   = errors.New("nothing changes")
	ErrPageToken   = errors.New("unknown page token")
	// ErrInUse is ResourceInUseException.
	ErrInUse = errors.New("association exists")
	// ErrLimit is ResourceLimitExceededException.
	ErrLimit = errors.New("limit reached")
	// ErrNotFound is ResourceNotFoundException; NotFoundException of the
	// operations for tags.
	ErrNotFound = errors.New("no such association")
)

// Refusal is the cause of a fault that the request itself brought about. Other
// faults come from the store.
type Refusal struct {
	// Reason is one of the errors above.
	Reason error
	// Field is the one that is wrong, as in the kind, like spec.roleARN; empty if
	// it is not about a field.
	Field string
	// Message is a sentence for the client, in AWS's words where spec podidentity
	// §13.2 knows them.
	Message string
}

// Error returns the field and the message.
func (r *Refusal) Error() string {
	if r.Field == "" {
		return r.Message
	}
	return r.Field + ": " + r.Message
}

// Unwrap returns the reason.
func (r *Refusal) Unwrap() error { return r.Reason }

func refuse(kind fault.Kind, reason error, format string, args ...any) *fault.Error {
	return &fault.Error{Kind: kind, Cause: &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...)}}
}

func invalid(field, format string, args ...any) *fault.Error {
	return &fault.Error{
		Kind:  fault.Invalid,
		Cause: &Refusal{Reason: ErrInvalid, Field: field, Message: fmt.Sprintf(format, args...)},
	}
}
