package awsapi_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
)

// ec2 is one that knows instances, and answers as EC2 does.
type ec2 struct {
	mu      sync.Mutex
	names   map[string]string
	refuses string // a code
	vague   bool   // does not say which id is unknown
	asked   [][]string
}

func (e *ec2) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	text, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(text))
	var ids, unknown []string
	for n := 1; form.Get(fmt.Sprint("InstanceId.", n)) != ""; n++ {
		id := form.Get(fmt.Sprint("InstanceId.", n))
		ids = append(ids, id)
		if _, known := e.names[id]; !known {
			unknown = append(unknown, id)
		}
	}
	e.asked = append(e.asked, ids)
	code, message := e.refuses, "no"
	if len(unknown) > 0 && code == "" {
		code, message = "InvalidInstanceID.NotFound", "The instance IDs '"+strings.Join(unknown, ", ")+"' do not exist"
		if e.vague {
			message = "some do not exist"
		}
	}
	if form.Get("Action") != "DescribeInstances" || !strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/ec2/aws4_request") {
		code, message = "AuthFailure", "not signed for EC2"
	}
	if code != "" {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, "<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors></Response>", code, message)
		return
	}
	fmt.Fprint(w, `<?xml version="1.0"?><DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet>`)
	for _, id := range ids {
		fmt.Fprintf(w, "<item><instancesSet><item><instanceId>%s</instanceId><privateDnsName>%s</privateDnsName></item>"+
			"</instancesSet></item>", id, e.names[id])
	}
	fmt.Fprint(w, "</reservationSet></DescribeInstancesResponse>")
}

// TestInstances: names are had in one call, ended instances have none, and an id that
// nobody knows keeps nobody from their name.
func TestInstances(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIA")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	world := &ec2{names: map[string]string{"i-a": "ip-10-0-0-1.ec2.internal", "i-b": "ip-10-0-0-2.ec2.internal", "i-ended": ""}}
	server := httptest.NewServer(world)
	defer server.Close()
	instances, err := awsapi.NewInstances(t.Context(),
		awsapi.InstancesConfig{Region: "eu-west-1", Endpoint: server.URL, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name  string
		ids   string
		vague bool
		want  int // names
		calls int
	}{
		{"all there", "i-a i-b", false, 2, 1},
		{"one has ended", "i-a i-ended", false, 1, 1},
		{"one is unknown", "i-a i-none i-b", false, 2, 2},
		{"all are unknown", "i-none i-other", false, 0, 1},
		{"it is not said which", "i-a i-none", true, 1, 3},
	} {
		world.asked, world.vague = nil, row.vague
		names, err := instances.Names(t.Context(), strings.Fields(row.ids))
		if err != nil || len(names) != row.want || len(world.asked) != row.calls {
			t.Errorf("%s: %v, %v, asked %v", row.name, names, err, world.asked)
		}
		for id, name := range names {
			if world.names[id] != name || !slices.Contains(strings.Fields(row.ids), id) {
				t.Errorf("%s: %s is %s", row.name, id, name)
			}
		}
	}
	for code, kind := range map[string]fault.Kind{
		"RequestLimitExceeded": fault.Throttled, "UnauthorizedOperation": fault.Denied, "InternalError": fault.Unavailable,
	} {
		world.refuses = code
		if _, err := instances.Names(t.Context(), []string{"i-a"}); fault.KindOf(err) != kind {
			t.Errorf("%s: %v", code, err)
		}
	}
}
