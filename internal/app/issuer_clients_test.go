//go:build unix

package app_test

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/test/freeport"
)

// program finds a client. Without it the test is skipped; where it is known to be
// there (ROLECALL_REQUIRE_CLIENTS=1, as in CI) it fails.
func program(t *testing.T, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("NOT TESTED: clients take seconds to start")
	}
	found, err := exec.LookPath(name)
	switch {
	case err == nil:
		return found
	case os.Getenv("ROLECALL_REQUIRE_CLIENTS") == "1":
		t.Fatalf("%s is needed and not there: %v", name, err)
	}
	t.Skipf("NOT TESTED: %s is not on this machine (%v)", name, err)
	return ""
}

// TestIssuerInvalidation runs the command that is printed after a publication to a
// bucket behind CloudFront, with the AWS CLI, at a stand-in that takes nothing but
// what CloudFront's API says.
func TestIssuerInvalidation(t *testing.T) {
	program(t, "aws")
	for host, id := range map[string]string{"oidc.example.com": "E2ALIAS", "d3333.cloudfront.net": "E3NAME"} {
		t.Run(host, func(t *testing.T) {
			s := openShop(t)
			s.dir = filepath.Join(t.TempDir(), "behind")
			said := s.rolecall("init", "--name", "c2", "--bucket", "behind-oidc", "--region", "eu-west-1", "--prefix",
				"c2", "--url", "https://"+host+"/c2", "--read-back", "0")
			_, command, found := strings.Cut(said, "drop them:\n")
			command, _, _ = strings.Cut(command, "\n")
			if !found {
				t.Fatal(said)
			}
			if again := s.rolecall("publish", "--read-back", "0"); strings.Contains(again, "drop them") {
				t.Errorf("nothing was written: %s", again)
			}
			cloudFront := &cloudFront{t: t}
			server := httptest.NewServer(cloudFront)
			t.Cleanup(server.Close)
			t.Setenv("AWS_ENDPOINT_URL", server.URL)
			t.Setenv("AWS_PAGER", "")
			if out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", command, err, out)
			}
			slices.Sort(cloudFront.forgotten)
			if want := []string{"/c2/.well-known/openid-configuration", "/c2/openid/v1/jwks"}; cloudFront.id != id ||
				!slices.Equal(cloudFront.forgotten, want) {
				t.Errorf("%s has forgotten %q, want %s and %q", cloudFront.id, cloudFront.forgotten, id, want)
			}
		})
	}
	// The bucket's own host has no copies in between.
	if said := openShop(t).said; strings.Contains(said, "CloudFront") {
		t.Error(said)
	}
}

// cloudFront lists three distributions and takes invalidations of them.
type cloudFront struct {
	t         *testing.T
	id        string
	forgotten []string
}

func (c *cloudFront) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, below := strings.CutPrefix(r.URL.Path, "/2020-05-31/distribution")
	w.Header().Set("Content-Type", "application/xml")
	switch {
	case below && path == "" && r.Method == http.MethodGet:
		item := func(id, name, aliases string) string {
			return "<DistributionSummary><Id>" + id + "</Id><DomainName>" + name + "</DomainName><Aliases>" + aliases +
				"</Aliases></DistributionSummary>"
		}
		_, _ = io.WriteString(w,
			`<DistributionList xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/">`+
				`<Marker></Marker><MaxItems>100</MaxItems>`+
				`<IsTruncated>false</IsTruncated><Quantity>3</Quantity><Items>`+
				item("E1OTHER", "d1111.cloudfront.net", "<Quantity>0</Quantity>")+
				item("E2ALIAS", "d2222.cloudfront.net",
					"<Quantity>1</Quantity><Items><CNAME>oidc.example.com</CNAME></Items>")+
				item("E3NAME", "d3333.cloudfront.net", "<Quantity>0</Quantity>")+`</Items></DistributionList>`)
	case below && strings.HasSuffix(path, "/invalidation") && r.Method == http.MethodPost:
		var batch struct {
			XMLName xml.Name
			Paths   struct {
				Quantity int
				Items    []string `xml:"Items>Path"`
			}
			CallerReference string
		}
		body, _ := io.ReadAll(r.Body)
		if err := xml.Unmarshal(body, &batch); err != nil || batch.XMLName.Local != "InvalidationBatch" ||
			batch.Paths.Quantity != len(batch.Paths.Items) || batch.CallerReference == "" {
			c.t.Errorf("%v: %s", err, body)
		}
		c.id, c.forgotten = strings.Split(path, "/")[1], batch.Paths.Items
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w,
			`<Invalidation xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/">`+
				`<Id>I1</Id><Status>InProgress</Status></Invalidation>`)
	default:
		c.t.Errorf("%s %s", r.Method, r.URL)
		w.WriteHeader(http.StatusNotFound)
	}
}

// TestIssuerOnMoto makes, publishes and verifies an issuer in moto's S3 and IAM,
// which are not written by us: what init and publish ask for must not lean on our
// own local AWS.
func TestIssuerOnMoto(t *testing.T) {
	moto := startMoto(t, program(t, "moto_server"))
	s := &shop{t: t, dir: filepath.Join(t.TempDir(), "i"), good: map[string][]byte{}}
	target, err := url.Parse(moto)
	if err != nil {
		t.Fatal(err)
	}
	s.aws = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // the bucket is its host name
	}}
	s.useAWS(moto, credential.AWS{AccessKeyID: "AKIAEXAMPLE", SecretKey: credential.NewSecret("secret")})
	s.serve(time.Now(), shopHost)
	initialise := []string{
		"init", "--name", "c1", "--bucket", "example-oidc", "--region", "eu-west-1",
		"--prefix", "c1",
	}
	for range 2 {
		s.rolecall(initialise...)
	}
	if said := s.rolecall("publish"); !strings.Contains(said, "unchanged at "+shopURL) {
		t.Error(said)
	}
	s.want("nothing", s.verify())
	s.put(keysKey, []byte(`{"keys":[]}`))
	s.want("empty set", s.verify(), "no-keys")
	if said := s.rolecall("publish"); !strings.Contains(said, "written: openid/v1/jwks") {
		t.Error(said)
	}
	s.want("published again", s.verify())

	account, err := awsapi.OpenAccount(t.Context(), "eu-west-1", "")
	if err != nil {
		t.Fatal(err)
	}
	conditional(t, account.Bucket("example-oidc", "other", "123456789012"))
	if _, err := s.s3.HeadObject(t.Context(), &s3.HeadObjectInput{
		Bucket: awssdk.String("example-oidc"),
		Key:    awssdk.String("other/a"),
	}); err != nil {
		t.Error(err)
	}
}

// conditional holds a bucket to If-None-Match and If-Match.
func conditional(t *testing.T, bucket *awsapi.Bucket) {
	t.Helper()
	ctx := t.Context()
	write := func(text, replaces string) error {
		return bucket.Write(ctx, document.Write{
			Object: document.Object{
				Name:         "a",
				Text:         []byte(text),
				ContentType:  "application/json",
				CacheControl: "max-age=1",
			},
			Replaces: replaces,
		})
	}
	if got, err := bucket.Read(ctx, "a"); err != nil || got.Version != "" {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := write("first", ""); err != nil {
		t.Fatal(err)
	}
	if err := write("lost", ""); !errors.Is(err, document.ErrChanged) {
		t.Errorf("If-None-Match of what is there: %v", err)
	}
	first, err := bucket.Read(ctx, "a")
	if err != nil || string(first.Text) != "first" || first.CacheControl != "max-age=1" ||
		first.ContentType != "application/json" {
		t.Fatalf("%+v, %v", first, err)
	}
	if err := write("second", first.Version); err != nil {
		t.Errorf("If-Match of what is there: %v", err)
	}
	if err := write("lost", first.Version); !errors.Is(err, document.ErrChanged) {
		t.Errorf("If-Match of what was there: %v", err)
	}
	if got, err := bucket.Read(ctx, "a"); err != nil || string(got.Text) != "second" {
		t.Errorf("%+v, %v", got, err)
	}
}

func startMoto(t *testing.T, program string) string {
	t.Helper()
	address := freeport.Address(t)
	host, port, _ := net.SplitHostPort(address)
	command := exec.Command(program, "-H", host, "-p", port) //nolint:noctx // it is ended below, with what it starts
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	output, err := os.CreateTemp(t.TempDir(), "moto")
	if err != nil {
		t.Fatal(err)
	}
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
		_ = command.Wait()
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/moto-api/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := http.DefaultClient.Do(request); err == nil {
			_ = answer.Body.Close()
			return "http://" + address
		}
		select {
		case <-ctx.Done():
			text, _ := os.ReadFile(output.Name())
			t.Fatalf("moto does not start: %s", text)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
