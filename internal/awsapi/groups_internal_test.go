package awsapi

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// watched is an HTTP client that looks at what is sent.
type watched struct {
	next    *http.Client
	written int
}

func (w *watched) Do(request *http.Request) (*http.Response, error) {
	if _, writes := request.Body.(io.WriterTo); writes {
		w.written++
	}
	return w.next.Do(request)
}

// TestOnlyRead: what the SDK sends does not write itself, which would have the connection
// closed while a long answer is read; and long answers are read.
func TestOnlyRead(t *testing.T) {
	var users strings.Builder
	for i := range groupPage {
		fmt.Fprintf(&users, `<member><UserId>AIDA%d</UserId><Arn>arn:aws:iam::111122223333:user/%d</Arn></member>`, i, i)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.Form.Get("MaxItems") != "1000" || r.Form.Get("GroupName") != "devs" {
			t.Errorf("%v, %v", r.Form, err)
		}
		fmt.Fprintf(w, `<GetGroupResponse><GetGroupResult><Group><GroupName>devs</GroupName><GroupId>AGPA</GroupId>`+
			`<Arn>arn:aws:iam::111122223333:group/devs</Arn></Group><Users>%s</Users><IsTruncated>false</IsTruncated>`+
			`</GetGroupResult></GetGroupResponse>`, users.String())
	}))
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
	groups, err := OpenGroups(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	looks := &watched{next: server.Client()}
	groups.iam = iam.New(groups.iam.Options(), func(o *iam.Options) { o.HTTPClient = looks })
	for range 5 {
		page, err := groups.Page(t.Context(), "devs", "")
		if err != nil || len(page.Users) != groupPage || page.More || page.ID != "AGPA" {
			t.Fatalf("%d users, %v", len(page.Users), err)
		}
	}
	if looks.written != 0 {
		t.Errorf("%d bodies write themselves", looks.written)
	}
	if _, once := groups.iam.Options().Retryer.(aws.NopRetryer); !once {
		t.Errorf("the SDK counts calls of its own: %T", groups.iam.Options().Retryer)
	}
}
