package broker_test

import (
	"crypto/elliptic"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/token"
)

// BenchmarkIssue is a whole request, STS's part included; overhead-ns/op is what
// is left when the time of a call of STS alone is taken off. RSA or EC is the
// key that mode Federated signs with; the cluster's tokens are RSA's, and two of
// them are verified.
func BenchmarkIssue(b *testing.B) {
	for _, row := range []struct {
		name   string
		mode   v1alpha1.AssociationMode
		minted *token.Key
	}{
		{"Federated-EC", v1alpha1.Federated, must(token.GenerateEC(elliptic.P256()))},
		{"Federated-RSA", v1alpha1.Federated, must(strangeKey())},
		{"BrokerRole", v1alpha1.BrokerRole, nil},
		{"PassThrough", v1alpha1.PassThrough, nil},
	} {
		b.Run(row.name, func(b *testing.B) {
			w := newWorld(b, settings{mode: row.mode, minted: row.minted})
			w.associate()
			mux := http.NewServeMux()
			w.broker.Routes(mux, w.draining)
			raw, agent := w.token(nil), "Bearer "+w.agent("n1")
			body := string(must(json.Marshal(map[string]string{"token": raw})))
			ask := func() {
				request := httptest.NewRequestWithContext(
					b.Context(), http.MethodPost, "/clusters/prod/assume-role-for-pod-identity",
					strings.NewReader(body),
				)
				request.Header.Set("Authorization", agent)
				recorder := httptest.NewRecorder()
				mux.ServeHTTP(recorder, request)
				if recorder.Code != http.StatusOK {
					b.Fatal(recorder.Body)
				}
			}
			alone := w.alone(b, row.mode, raw)
			ask()
			alone()
			var whole, sts time.Duration
			b.ReportAllocs()
			for b.Loop() {
				began := time.Now()
				ask()
				asked := time.Now()
				alone()
				whole, sts = whole+asked.Sub(began), sts+time.Since(asked)
			}
			b.ReportMetric(float64((whole-sts).Nanoseconds())/float64(b.N), "overhead-ns/op")
		})
	}
}

// alone is the same call of STS without the broker.
func (w *world) alone(b *testing.B, mode v1alpha1.AssociationMode, raw string) func() {
	roles := must(awsapi.NewRoles(b.Context(), awsapi.RolesConfig{Region: region, Endpoint: w.aws, Own: true}))
	q := awsapi.RoleRequest{RoleARN: roleCart, SessionName: "alone", Duration: 6 * time.Hour}
	var tags []awsapi.Tag
	for key, value := range six {
		tags = append(tags, awsapi.Tag{Key: key, Value: value})
	}
	shown := credential.NewSecret(raw)
	if mode == v1alpha1.Federated {
		shown = must(w.broker.Sessions.Minter.Mint("system:serviceaccount:shop:cart", roleCart, tags, false, ""))
	}
	return func() {
		var err error
		if mode == v1alpha1.BrokerRole {
			q.Tags, q.ExternalID = tags, "eu-west-1/111122223333/prod/shop/cart"
			_, err = roles.Assume(b.Context(), q)
		} else {
			_, err = roles.WithWebIdentity(b.Context(), q, shown)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRefuse is a request that STS never hears of: a token of another key.
func BenchmarkRefuse(b *testing.B) {
	w := newWorld(b, settings{})
	w.associate()
	mux := http.NewServeMux()
	w.broker.Routes(mux, w.draining)
	body := `{"token":"` + must(token.Sign(must(strangeKey()), w.claims(nil))).Reveal() + `"}`
	agent := "Bearer " + w.agent("n1")
	b.ReportAllocs()
	for b.Loop() {
		request := httptest.NewRequestWithContext(
			b.Context(), http.MethodPost, "/clusters/prod/assume-role-for-pod-identity", strings.NewReader(body),
		)
		request.Header.Set("Authorization", agent)
		recorder := httptest.NewRecorder()
		mux.ServeHTTP(recorder, request)
		if recorder.Code != http.StatusBadRequest {
			b.Fatal(recorder.Body)
		}
	}
}
