package localaws

import (
	"net/http"
	"time"

	"github.com/rolecall/rolecall/internal/localaws/faults"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// faultHeader asks for a fault of the one call that carries it. It is not one of
// AWS's headers, and is ignored if faults are not allowed.
const faultHeader = "X-Rolecall-Fault"

// misbehave fails this call as tests have asked for.
func (s *Server) misbehave(a *ask) error {
	if s.faults == nil {
		return nil
	}
	asked := s.faults.Take(a.name, a.Operation)
	if text := a.HTTP.Header.Get(faultHeader); text != "" {
		more, err := faults.ParseHeader(text)
		if err != nil {
			return wire.Errorf(http.StatusBadRequest, "InvalidParameterValue", "%s: %s", faultHeader, err)
		}
		asked = append(asked, more...)
	}
	for _, one := range asked {
		if err := s.apply(one, a); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) apply(f faults.Fault, a *ask) error {
	const onDemand = "a fault was asked for"
	switch f.Kind {
	case faults.Throttle:
		return wire.Errorf(http.StatusBadRequest, "Throttling", "Rate exceeded").Because(onDemand)
	case faults.Server:
		if f.Status == 0 || f.Status == http.StatusInternalServerError {
			return wire.Errorf(
				http.StatusInternalServerError, "InternalFailure",
				"The request processing has failed because of an unknown error.",
			).Because(onDemand)
		}
		return wire.Errorf(
			f.Status, "ServiceUnavailable", "The request has failed due to a temporary failure of the server.",
		).Because(onDemand)
	case faults.Latency:
		timer := time.NewTimer(f.Duration())
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-a.HTTP.Context().Done():
		}
	case faults.Skew:
		a.Time = a.Time.Add(f.Duration())
	case faults.Expired:
		a.expired = true
	case faults.Keys:
		a.KeysUnreachable = true
	}
	return nil
}
