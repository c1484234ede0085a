package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/token"
)

// sessionToken is as long as a real one.
var sessionToken = strings.Repeat("IQoJb3JpZ2luX2VjE", 60)

// eksAuth grants everything, to whom the token names.
func eksAuth(w http.ResponseWriter, r *http.Request) {
	var body struct{ Token string }
	_ = json.NewDecoder(r.Body).Decode(&body)
	var claims struct{ Sub string }
	if parts := strings.Split(body.Token, "."); len(parts) == 3 {
		text, _ := base64.RawURLEncoding.DecodeString(parts[1])
		_ = json.Unmarshal(text, &claims)
	}
	namespace, account, _ := token.ParseServiceAccountSubject(claims.Sub)
	w.Header().Set("X-Amzn-Requestid", rand.Text())
	_, _ = fmt.Fprintf(w, `{"subject":{"namespace":%q,"serviceAccount":%q},"audience":"pods.eks.amazonaws.com",`+
		`"podIdentityAssociation":{"associationArn":`+
		`"arn:aws:eks:eu-west-1:111122223333:podidentityassociation/prod/a-0123456789abcdefg",`+
		`"associationId":"a-0123456789abcdefg"},`+
		`"assumedRoleUser":{"arn":"arn:aws:sts::111122223333:assumed-role/cart/eks-prod-x",`+
		`"assumeRoleId":"AROAEXAMPLEROLEID0001:eks-prod-x"},`+
		`"credentials":{"accessKeyId":"ASIAEXAMPLEKEYID0001",`+
		`"secretAccessKey":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY","sessionToken":%q,`+
		`"expiration":%d}}`,
		namespace, account, sessionToken, time.Now().Add(6*time.Hour).Unix())
}

// bare writes as many bytes as an agent's answer has, and does nothing else.
func bare(port string) error {
	body := fmt.Appendf(nil, `{"AccessKeyId":"ASIAEXAMPLEKEYID0001",`+
		`"SecretAccessKey":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY","Token":%q,`+
		`"AccountId":"111122223333","Expiration":%q}`,
		sessionToken, time.Now().Add(6*time.Hour).UTC().Format(time.RFC3339))
	server := http.Server{
		Addr: net.JoinHostPort("127.0.0.1", port), ReadHeaderTimeout: 2 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			_, _ = w.Write(body)
		}),
	}
	return server.ListenAndServe()
}

// mint makes a token for each of so many pods.
func mint(pods int) ([]string, error) {
	key, err := token.GenerateRSA(2048)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	tokens := make([]string, pods)
	for i := range tokens {
		name := fmt.Sprintf("app-%d", i)
		signed, err := token.Mint(key, &token.Claims{
			Issuer:    "https://oidc.example.com/prod",
			Subject:   token.ServiceAccountSubject("shop", name),
			Audiences: []string{"pods.eks.amazonaws.com"},
			IssuedAt:  now,
			NotBefore: now,
			Expiry:    now.Add(24 * time.Hour),
			ID:        rand.Text(),
			Workload: token.Workload{
				Namespace:      "shop",
				ServiceAccount: token.Reference{Name: name, UID: "sa-" + name},
				Pod:            &token.Reference{Name: name + "-0", UID: "uid-" + name},
				Node:           &token.Reference{Name: "n1", UID: "node-n1"},
			},
		})
		if err != nil {
			return nil, err
		}
		tokens[i] = signed.Reveal()
	}
	return tokens, nil
}

// warm asks once for each pod, when the server is there.
func warm(port string, tokens []string) error {
	deadline := time.Now().Add(20 * time.Second)
	client := http.Client{Timeout: 5 * time.Second}
	for i := 0; i < len(tokens); {
		request, err := http.NewRequest( //nolint:noctx // the client has a timeout
			http.MethodGet, "http://127.0.0.1:"+port+"/v1/credentials", nil,
		)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", tokens[i])
		request.Host = "169.254.170.23"
		response, err := client.Do(request)
		status := 0
		if err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			status = response.StatusCode
		}
		switch {
		case status == http.StatusOK:
			i++
		case time.Now().After(deadline):
			return fmt.Errorf("pod %d has no credentials: status %d, %w", i, status, err)
		default:
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}
