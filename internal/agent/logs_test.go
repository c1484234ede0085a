package agent_test

import (
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/internal/awsapi"
)

// refusalLine is the log's line about a refusal.
func refusalLine(t *testing.T, logs string) map[string]any {
	t.Helper()
	for line := range strings.Lines(logs) {
		if !strings.Contains(line, `"msg":"credentials refused"`) {
			continue
		}
		members := map[string]any{}
		if err := json.Unmarshal([]byte(line), &members); err != nil {
			t.Fatal(err)
		}
		return members
	}
	t.Fatalf("no refusal in\n%s", logs)
	return nil
}

// TestRefusalsSayWhoseAndWhatToDo: the log names the pod and account of a token that was
// refused, when it ends, why it was refused, and what is to be done.
func TestRefusalsSayWhoseAndWhatToDo(t *testing.T) {
	t.Parallel()
	expired := func(p *pod) { p.issued, p.life = p.issued.Add(-2*time.Hour), time.Hour }
	for _, row := range []struct {
		name   string
		edit   func(*pod)
		answer error
		status int
		// hint and cause are parts of the line, and hint of the pod's answer, too.
		hint, cause string
	}{
		{"expired token", expired, nil, http.StatusBadRequest, "read again the file", ""},
		{
			"expired for the upstream", nil, refuse(http.StatusBadRequest, "ExpiredTokenException"), http.StatusBadRequest,
			"Read again the file", "",
		},
		{
			"refused role", nil, &awsapi.Error{
				Code: "AccessDeniedException", Status: http.StatusBadRequest,
				Message: "Unauthorized Exception! EKS does not have permissions to assume the associated role.",
			}, http.StatusBadRequest, "the conditions of that statement", "",
		},
		{
			"certificate of nobody", nil,
			&url.Error{Op: "Post", URL: "https://broker/x", Err: x509.UnknownAuthorityError{}},
			http.StatusServiceUnavailable, "", "x509: certificate signed by unknown authority",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, &fakeUpstream{answer: func(string, int) (*awsapi.PodSession, error) {
					return nil, row.answer
				}}, nil)
				p := cart(time.Now())
				if row.edit != nil {
					row.edit(&p)
				}
				got := answerOf(t, r.get(p.mint(t)), row.status)
				if !strings.Contains(got["message"], row.hint) {
					t.Errorf("the pod is told %q", got["message"])
				}
				if row.cause != "" && strings.Contains(got["message"], row.cause) {
					t.Errorf("the pod is told of the node's troubles: %q", got["message"])
				}
				line := refusalLine(t, r.logs.String())
				claimed, _ := line["claimed"].(map[string]any)
				for key, want := range map[string]string{
					"namespace": "shop", "serviceAccount": "cart", "pod": "cart-0", "podUID": "u1",
				} {
					if claimed[key] != want {
						t.Errorf("%s: %v, want %s", key, claimed[key], want)
					}
				}
				if want := p.issued.Add(p.life).UTC().Format(time.RFC3339); line["tokenExpires"] != want {
					t.Errorf("the token expires at %v, want %s", line["tokenExpires"], want)
				}
				hint, _ := line["hint"].(string)
				cause, _ := line["error"].(string)
				if !strings.Contains(hint, row.hint) || !strings.Contains(cause, row.cause) {
					t.Errorf("hint %q, error %q", hint, cause)
				}
			})
		})
	}
}
