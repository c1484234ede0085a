package awsapi_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/rolecall/rolecall/internal/awsapi"
)

// TestInstance: the account and the partition of an EC2 instance, by IMDSv2.
func TestInstance(t *testing.T) {
	t.Parallel()
	document := `{"accountId":"111122223333","region":"cn-north-1"}`
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		_, _ = io.WriteString(w, "token")
	})
	mux.HandleFunc("GET /latest/dynamic/instance-identity/document", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Aws-Ec2-Metadata-Token") != "token" {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, document)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	got, err := awsapi.Instance(t.Context(), server.URL)
	if want := (awsapi.EC2Instance{
		Account:   "111122223333",
		Region:    "cn-north-1",
		Partition: "aws-cn",
	}); err != nil || got != want {
		t.Errorf("%+v %v", got, err)
	}
	document = `{}`
	if got, err := awsapi.Instance(t.Context(), server.URL); err == nil {
		t.Errorf("no account: %+v", got)
	}
}
