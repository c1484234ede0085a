package localaws

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

type answered struct{ Said string }

// TestRooms: a room of each protocol is found by what its clients send.
func TestRooms(t *testing.T) {
	t.Parallel()
	accounts, err := account.NewSet(account.NewMemory(), []string{"000000000000"}, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Accounts: accounts, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	echo := service.Operation{Access: service.Anybody, Do: func(c *service.Call) (any, error) {
		return answered{c.Operation + " " + c.Bucket + c.Path}, nil
	}}
	raw := service.Operation{Access: service.Anybody, Do: func(*service.Call) (any, error) {
		return &wire.Raw{Status: http.StatusPartialContent, Header: http.Header{"Content-Type": {"text/plain"}, "Etag": {`"x"`}}, Body: []byte("content")}, nil
	}}
	broken := service.Operation{Access: service.Anybody, Do: func(*service.Call) (any, error) { return nil, io.ErrUnexpectedEOF }}
	byMethod := func(c *service.Call) string {
		return map[string]string{"GET": "Get", "PUT": "Put", "POST": "Break"}[c.HTTP.Method]
	}
	for _, room := range []*service.Service{
		{Name: "eks", Protocol: wire.RESTJSON, Route: byMethod, Operations: map[string]service.Operation{"Get": echo, "Break": broken}},
		{Name: "s3", Protocol: wire.S3, Route: byMethod, Operations: map[string]service.Operation{"Get": raw, "Put": echo}, MaxBody: 1 << 20},
		{Name: "ssm", Protocol: wire.JSON11, Target: "AmazonSSM", Operations: map[string]service.Operation{"GetParameter": echo}},
		{Name: "sqs", Protocol: wire.JSON10, Target: "AmazonSQS", Operations: map[string]service.Operation{"SendMessage": echo}},
	} {
		s.services[room.Name] = room
	}
	for _, row := range []struct {
		name, method, host, path, target, body string
		status                                 int
		contentType, want                      string
	}{
		{"rest-json by host", "GET", "eks.us-east-1.amazonaws.com", "/clusters/a%2Fb", "", "", 200, "application/json", `{"Said":"Get /clusters/a%2Fb"}`},
		{"rest-json by host in the path", "GET", "127.0.0.1:4566", "/eks.us-east-1.amazonaws.com/clusters", "", "", 200, "application/json", `{"Said":"Get /clusters"}`},
		{"what is not for callers", "POST", "eks.us-east-1.amazonaws.com", "/clusters", "", "", 500, "application/json", `{"message":"The request processing has failed because of an unknown error."}`},
		{"no such operation", "DELETE", "eks.us-east-1.amazonaws.com", "/clusters", "", "", 404, "application/json", "There is no operation DELETE /clusters."},
		{"S3 virtual host", "PUT", "my.bucket.s3.eu-west-1.amazonaws.com", "/k", "", strings.Repeat("x", 300<<10), 200, "application/xml", "<Said>Put my.bucket/k</Said>"},
		{"S3 local virtual host", "PUT", "b.s3.localhost:4566", "/k", "", "", 200, "application/xml", "<Said>Put b/k</Said>"},
		{"S3 too large", "PUT", "b.s3.localhost:4566", "/k", "", strings.Repeat("x", 2<<20), 400, "application/xml", "<Code>EntityTooLarge</Code>"},
		{"an answer of its own form", "GET", "s3.amazonaws.com", "/b/k", "", "", 206, "text/plain", "content"},
		{"json 1.1", "POST", "127.0.0.1", "/", "AmazonSSM.GetParameter", "{}", 200, "application/x-amz-json-1.1", `{"Said":"GetParameter /"}`},
		{"json 1.0", "POST", "127.0.0.1", "/", "AmazonSQS.SendMessage", "{}", 200, "application/x-amz-json-1.0", `{"Said":"SendMessage /"}`},
	} {
		r := httptest.NewRequestWithContext(t.Context(), row.method, "http://"+row.host+row.path, strings.NewReader(row.body))
		if row.target != "" {
			r.Header.Set("X-Amz-Target", row.target)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != row.status || w.Header().Get("Content-Type") != row.contentType || !strings.Contains(w.Body.String(), row.want) {
			t.Errorf("%s: %d %s %s\nwant %d %s %s", row.name, w.Code, w.Header().Get("Content-Type"), w.Body, row.status, row.contentType, row.want)
		}
	}
}

func FuzzEndpoint(f *testing.F) {
	for _, host := range []string{"sts.amazonaws.com", "b.s3.dualstack.eu-west-1.amazonaws.com:443", "s3-eu-west-1.amazonaws.com", ".localhost", "global.api.aws", "[::1]:80", "dualstack.us-east-1.amazonaws.com"} {
		f.Add(host, "/"+host+"/x")
	}
	f.Fuzz(func(t *testing.T, host, path string) {
		if e := endpointOf(host, path); e.path == "" {
			t.Errorf("%q %q: no path", host, path)
		}
	})
}
