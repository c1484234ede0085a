package localaws

import (
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// TestTables: no two services keep records in one table, not even in a part of
// another's, and all are listed.
func TestTables(t *testing.T) {
	t.Parallel()
	accounts, err := account.NewSet(account.NewMemory(), []string{"000000000000"}, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Accounts: accounts, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	owners := map[string]string{"meta": "the store", "account": "the store"}
	add := func(owner string, tables []account.Table) {
		for _, table := range tables {
			if other, taken := owners[table.Name]; taken {
				t.Errorf("table %q of %s is one of %s, too", table.Name, owner, other)
			}
			if table.Name == "" || strings.Contains(table.Name, "/") {
				t.Errorf("table %q of %s: a name is one segment", table.Name, owner)
			}
			owners[table.Name] = owner
		}
	}
	add("identities", account.Tables())
	for name, room := range s.services {
		add(name, room.Tables)
	}
	// And the names are those that data folders have.
	text, err := os.ReadFile("testdata/records.json")
	if err != nil {
		t.Fatal(err)
	}
	var kept map[string]any
	if err := json.Unmarshal(text, &kept); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for kind := range kept {
		parts := strings.Split(kind, "/")
		if arn.IsAccount(parts[0]) {
			parts = parts[1:]
		}
		names[parts[0]] = true
	}
	want, got := slices.Sorted(maps.Keys(names)), slices.Sorted(maps.Keys(owners))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tables mismatch (-want +got):\n%s", diff)
	}
}

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
		return answered{c.Operation + " " + c.HostPrefix + c.Path}, nil
	}}
	raw := service.Operation{Access: service.Anybody, Do: func(*service.Call) (any, error) {
		return &wire.Raw{
			Status: http.StatusPartialContent,
			Header: http.Header{"Content-Type": {"text/plain"}, "Etag": {`"x"`}},
			Body:   []byte("content"),
		}, nil
	}}
	broken := service.Operation{
		Access: service.Anybody,
		Do:     func(*service.Call) (any, error) { return nil, io.ErrUnexpectedEOF },
	}
	large := echo
	large.MaxBody = 1 << 20
	byMethod := func(c *service.Call) string {
		return map[string]string{"GET": "Get", "PUT": "Put", "POST": "Break"}[c.HTTP.Method]
	}
	for _, room := range []*service.Service{
		{
			Name:       "eks",
			Protocol:   wire.RESTJSON,
			Route:      byMethod,
			Operations: map[string]service.Operation{"Get": echo, "Break": broken},
		},
		{
			Name:       "s3",
			Protocol:   wire.S3,
			Route:      byMethod,
			Operations: map[string]service.Operation{"Get": raw, "Put": large},
		},
		{
			Name:       "ssm",
			Protocol:   wire.JSON11,
			Target:     "AmazonSSM",
			Operations: map[string]service.Operation{"GetParameter": echo},
		},
		{
			Name:       "sqs",
			Protocol:   wire.JSON10,
			Target:     "AmazonSQS",
			Operations: map[string]service.Operation{"SendMessage": echo},
		},
	} {
		s.services[room.Name] = room
	}
	for _, row := range []struct {
		name, method, host, path, target, body string
		status                                 int
		contentType, want                      string
	}{
		{
			name:        "rest-json by host",
			method:      "GET",
			host:        "eks.us-east-1.amazonaws.com",
			path:        "/clusters/a%2Fb",
			status:      200,
			contentType: "application/json",
			want:        `{"Said":"Get /clusters/a%2Fb"}`,
		},
		{
			name:        "rest-json by host in the path",
			method:      "GET",
			host:        "127.0.0.1:4566",
			path:        "/eks.us-east-1.amazonaws.com/clusters",
			status:      200,
			contentType: "application/json",
			want:        `{"Said":"Get /clusters"}`,
		},
		{
			name:        "what is not for callers",
			method:      "POST",
			host:        "eks.us-east-1.amazonaws.com",
			path:        "/clusters",
			status:      500,
			contentType: "application/json",
			want:        `{"message":"The request processing has failed because of an unknown error."}`,
		},
		{
			name:        "no such operation",
			method:      "DELETE",
			host:        "eks.us-east-1.amazonaws.com",
			path:        "/clusters",
			status:      404,
			contentType: "application/json",
			want:        "There is no operation DELETE /clusters.",
		},
		{
			name:        "S3 virtual host",
			method:      "PUT",
			host:        "my.bucket.s3.eu-west-1.amazonaws.com",
			path:        "/k",
			body:        strings.Repeat("x", 300<<10),
			status:      200,
			contentType: "application/xml",
			want:        "<Said>Put my.bucket/k</Said>",
		},
		{
			name:        "S3 local virtual host",
			method:      "PUT",
			host:        "b.s3.localhost:4566",
			path:        "/k",
			status:      200,
			contentType: "application/xml",
			want:        "<Said>Put b/k</Said>",
		},
		{
			name:        "S3 too large",
			method:      "PUT",
			host:        "b.s3.localhost:4566",
			path:        "/k",
			body:        strings.Repeat("x", 2<<20),
			status:      400,
			contentType: "application/xml",
			want:        "<Code>EntityTooLarge</Code>",
		},
		{"an answer of its own form", "GET", "s3.amazonaws.com", "/b/k", "", "", 206, "text/plain", "content"},
		{
			name:        "json 1.1",
			method:      "POST",
			host:        "127.0.0.1",
			path:        "/",
			target:      "AmazonSSM.GetParameter",
			body:        "{}",
			status:      200,
			contentType: "application/x-amz-json-1.1",
			want:        `{"Said":"GetParameter /"}`,
		},
		{
			name:        "json 1.0",
			method:      "POST",
			host:        "127.0.0.1",
			path:        "/",
			target:      "AmazonSQS.SendMessage",
			body:        "{}",
			status:      200,
			contentType: "application/x-amz-json-1.0",
			want:        `{"Said":"SendMessage /"}`,
		},
	} {
		r := httptest.NewRequestWithContext(
			t.Context(), row.method, "http://"+row.host+row.path, strings.NewReader(row.body),
		)
		if row.target != "" {
			r.Header.Set("X-Amz-Target", row.target)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != row.status || w.Header().Get("Content-Type") != row.contentType ||
			!strings.Contains(w.Body.String(), row.want) {
			t.Errorf(
				"%s: %d %s %s\nwant %d %s %s", row.name, w.Code, w.Header().Get("Content-Type"), w.Body, row.status,
				row.contentType, row.want,
			)
		}
	}
}

func FuzzEndpoint(f *testing.F) {
	for _, host := range []string{
		"sts.amazonaws.com", "b.s3.dualstack.eu-west-1.amazonaws.com:443", "s3-eu-west-1.amazonaws.com",
		".localhost", "global.api.aws", "[::1]:80", "dualstack.us-east-1.amazonaws.com",
	} {
		f.Add(host, "/"+host+"/x")
	}
	f.Fuzz(func(t *testing.T, host, path string) {
		if e := endpointOf(host, path); e.path == "" {
			t.Errorf("%q %q: no path", host, path)
		}
	})
}
