package signer

import (
	"context"

	"k8s.io/externaljwt/apis/v1"
	"k8s.io/externaljwt/apis/v1alpha1"
)

// alpha is the same service under the name that kube-apiserver 1.32 and 1.33
// call; v1 has the same messages.
type alpha struct {
	v1alpha1.UnimplementedExternalJWTSignerServer
	service *Service
}

// Sign is Service.Sign.
func (a alpha) Sign(ctx context.Context, request *v1alpha1.SignJWTRequest) (*v1alpha1.SignJWTResponse, error) {
	answer, err := a.service.Sign(ctx, &v1.SignJWTRequest{Claims: request.GetClaims()})
	if err != nil {
		return nil, err
	}
	return &v1alpha1.SignJWTResponse{Header: answer.Header, Signature: answer.Signature}, nil
}

// FetchKeys is Service.FetchKeys.
func (a alpha) FetchKeys(ctx context.Context, _ *v1alpha1.FetchKeysRequest) (*v1alpha1.FetchKeysResponse, error) {
	answer, err := a.service.FetchKeys(ctx, &v1.FetchKeysRequest{})
	if err != nil {
		return nil, err
	}
	converted := &v1alpha1.FetchKeysResponse{
		DataTimestamp:      answer.DataTimestamp,
		RefreshHintSeconds: answer.RefreshHintSeconds,
	}
	for _, key := range answer.Keys {
		converted.Keys = append(
			converted.Keys,
			&v1alpha1.Key{KeyId: key.KeyId, Key: key.Key, ExcludeFromOidcDiscovery: key.ExcludeFromOidcDiscovery},
		)
	}
	return converted, nil
}

// Metadata is Service.Metadata.
func (a alpha) Metadata(ctx context.Context, _ *v1alpha1.MetadataRequest) (*v1alpha1.MetadataResponse, error) {
	answer, err := a.service.Metadata(ctx, &v1.MetadataRequest{})
	if err != nil {
		return nil, err
	}
	return &v1alpha1.MetadataResponse{MaxTokenExpirationSeconds: answer.MaxTokenExpirationSeconds}, nil
}
