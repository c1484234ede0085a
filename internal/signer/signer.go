// Package signer is Kubernetes' external signer of service-account tokens: the
// gRPC service of k8s.io/externaljwt on a Unix socket, over a ring of keys that
// lets a new key sign only once every API server knows it.
//
// It does not decide who gets a token or what it claims, keeps no keys itself
// and publishes nothing to AWS.
package signer

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
	"k8s.io/externaljwt/apis/v1"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/obs"
	"github.com/rolecall/rolecall/internal/token"
)

// MinTokenLife is the shortest maximum life that kube-apiserver accepts from a
// signer (k8s.io/externaljwt).
const MinTokenLife = 10 * time.Minute

// Config of a Service. All fields are required.
type Config struct {
	Ring *Ring
	// RefreshHint is how often API servers fetch the keys: whole seconds, at least
	// one.
	RefreshHint time.Duration
	// MaxTokenLife is the longest life of a token that is signed: at least
	// MinTokenLife. API servers ask for it when they start.
	MaxTokenLife time.Duration
	Metrics      prometheus.Registerer
	Log          *slog.Logger
	Now          func() time.Time
}

// Service answers the three calls of the protocol.
type Service struct {
	v1.UnimplementedExternalJWTSignerServer
	config  Config
	metrics *metrics
}

// NewService checks the configuration.
func NewService(config Config) (*Service, error) {
	switch {
	case config.RefreshHint < time.Second || config.RefreshHint%time.Second != 0:
		return nil, fault.New(fault.Usage, "refresh hint %s: want whole seconds, at least one", config.RefreshHint)
	case config.MaxTokenLife < MinTokenLife || config.MaxTokenLife >= 1<<32*time.Second:
		return nil, fault.New(fault.Usage, "longest life of a token %s: want at least %s, and less than 2^32 seconds", config.MaxTokenLife, MinTokenLife)
	}
	return &Service{config: config, metrics: newMetrics(config)}, nil
}

// Sign signs claims with the key whose turn it is, and writes one audit line
// that names the token by its jti and never contains it.
func (s *Service) Sign(ctx context.Context, request *v1.SignJWTRequest) (*v1.SignJWTResponse, error) {
	started := s.config.Now()
	claims, err := readClaims(request.GetClaims(), started, s.config.MaxTokenLife)
	if err != nil {
		return nil, s.refuse("invalid", codes.InvalidArgument, err)
	}
	key, err := s.config.Ring.Choose(clientOf(ctx), started)
	if err != nil {
		return nil, s.refuse("no_key", codes.Unavailable, err)
	}
	header, signature, err := token.SignDetached(key, request.GetClaims())
	if err != nil {
		return nil, s.refuse("failed", codes.Internal, err)
	}
	s.metrics.signed.Inc()
	s.metrics.seconds.Observe(s.config.Now().Sub(started).Seconds())
	s.config.Log.LogAttrs(ctx, slog.LevelInfo, "token signed",
		slog.String("kid", key.ID()), slog.String("issuer", clip(claims.issuer)), slog.String("subject", clip(claims.subject)),
		slog.String("jti", clip(claims.id)), slog.Time("expires", claims.expires.UTC()))
	return &v1.SignJWTResponse{Header: header, Signature: signature}, nil
}

// clip bounds what a log line repeats of a claim.
func clip(text string) string {
	const most = 512
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}

func (s *Service) refuse(result string, code codes.Code, err error) error {
	s.metrics.signatures.WithLabelValues(result).Inc()
	s.config.Log.Warn("token not signed", obs.KeyReason, err)
	if code == codes.Internal {
		return status.Error(code, "the signer failed; its log says why")
	}
	return status.Error(code, err.Error())
}

// FetchKeys answers with all keys, and notes that this API server knows them.
func (s *Service) FetchKeys(ctx context.Context, _ *v1.FetchKeysRequest) (*v1.FetchKeysResponse, error) {
	keys, readAt := s.config.Ring.Fetch(clientOf(ctx), s.config.Now())
	s.metrics.fetches.Inc()
	answer := &v1.FetchKeysResponse{DataTimestamp: timestamppb.New(readAt), RefreshHintSeconds: int64(s.config.RefreshHint / time.Second)}
	for _, key := range keys {
		answer.Keys = append(answer.Keys, &v1.Key{KeyId: key.ID, Key: key.PKIX, ExcludeFromOidcDiscovery: key.Excluded})
	}
	return answer, nil
}

// Metadata answers with the longest life of a token.
func (s *Service) Metadata(context.Context, *v1.MetadataRequest) (*v1.MetadataResponse, error) {
	return &v1.MetadataResponse{MaxTokenExpirationSeconds: int64(s.config.MaxTokenLife / time.Second)}, nil
}

// connections tells the ring which API server asks, and when one has gone.
type connections struct{ ring *Ring }

type clientKey struct{}

// TagConn marks a connection. What is called over it carries the mark.
func (connections) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, clientKey{}, &Client{})
}

// HandleConn forgets a connection that has ended.
func (c connections) HandleConn(ctx context.Context, event stats.ConnStats) {
	if _, ended := event.(*stats.ConnEnd); ended {
		c.ring.Gone(clientOf(ctx))
	}
}

// TagRPC changes nothing.
func (connections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC does nothing.
func (connections) HandleRPC(context.Context, stats.RPCStats) {}

// clientOf panics for calls that did not come through Serve, which is a defect.
func clientOf(ctx context.Context) *Client { return ctx.Value(clientKey{}).(*Client) }
