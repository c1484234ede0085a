package localaws_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for RS384 and RS512
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/token"
)

// stsRow is a row of the table of spec issuer-and-sts §17: what differs from
// the good request of its set-up, and the answer.
type stsRow struct {
	row  int // 0 for what is not in the table
	name string
	// set changes the world first.
	set func(*world)
	// claims are edits of the good token's; raw is another token instead.
	claims edit
	raw    func(*world) string
	// more are parameters; ask is another request instead.
	more    more
	ask     func(*world) answer
	status  int
	code    string
	message string
	// has are parts of the body.
	has []string
}

type (
	more = map[string]string
	edit = map[string]any
)

const (
	ok  = http.StatusOK
	iit = "InvalidIdentityToken"
	// lastRow is the number of the table's last row.
	lastRow = 105
)

func allRows() []stsRow {
	return slices.Concat(
		requestRows, tokenRows, timeRows, keyRows, trustRows, contextRows, claimRows, callerRows, iamRows, rotationRows,
	)
}

// TestSTSRows holds every row of the table, each over the wire in a world of its
// own.
func TestSTSRows(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for _, row := range allRows() {
		seen[row.row] = true
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			row.run(newWorld(t))
		})
	}
	for row := 1; row <= lastRow; row++ {
		if !seen[row] {
			t.Errorf("row %d of the table is not here", row)
		}
	}
}

func (r *stsRow) run(w *world) {
	w.t.Helper()
	if r.set != nil {
		r.set(w)
	}
	var got answer
	switch {
	case r.ask != nil:
		got = r.ask(w)
	case r.raw != nil:
		got = w.assume(r.raw(w), r.more)
	default:
		got = w.assume(w.token(w.key, r.claims), r.more)
	}
	w.expect(r.name, got, r.status, r.code, r.message)
	for _, part := range r.has {
		if !strings.Contains(got.body, part) {
			w.t.Errorf("the answer lacks %s:\n%s", part, got.body)
		}
	}
	w.noTokenInLog()
}

// noTokenInLog: whatever is wrong with a token, it is not shown.
func (w *world) noTokenInLog() {
	w.t.Helper()
	if strings.Contains(w.log.String(), "eyJ") { // how base64 of a JSON object begins
		w.t.Error("the log shows a token")
	}
}

func at(d time.Duration) int64 { return epoch.Add(d).Unix() }

// withHeader is the good token under another header, its signature untouched.
func withHeader(header func(w *world) string) func(*world) string {
	return func(w *world) string {
		parts := strings.Split(w.token(w.key, nil), ".")
		return part(header(w)) + "." + parts[1] + "." + parts[2]
	}
}

func part(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// algorithm is a header with K1's kid and any algorithm.
func algorithm(name string) func(*world) string {
	return withHeader(func(w *world) string { return `{"alg":"` + name + `","kid":"` + w.key.ID() + `"}` })
}

// signedRSA signs by hand with an RSA key, under any header.
func signedRSA(w *world, key *rsa.PrivateKey, hash crypto.Hash, header string) string {
	w.t.Helper()
	text := part(header) + "." + part(string(claims(nil)))
	sum := hash.New()
	sum.Write([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, hash, sum.Sum(nil))
	if err != nil {
		w.t.Fatal(err)
	}
	return text + "." + part(string(signature))
}

// hs256 is the old confusion: an HMAC whose secret is the public key.
func hs256(w *world) string {
	w.t.Helper()
	public, err := token.MarshalJWKS([]crypto.PublicKey{w.key.Public()})
	if err != nil {
		w.t.Fatal(err)
	}
	text := part(`{"alg":"HS256","kid":"`+w.key.ID()+`"}`) + "." + part(string(claims(nil)))
	mac := hmac.New(sha256.New, public)
	mac.Write([]byte(text))
	return text + "." + part(string(mac.Sum(nil)))
}

func (w *world) otherRSA() *rsa.PrivateKey {
	w.t.Helper()
	key, err := otherKey()
	if err != nil {
		w.t.Fatal(err)
	}
	return key
}

// iam is a call of the administrator's that must work.
func (w *world) iam(action string, pairs ...string) answer {
	w.t.Helper()
	form := url.Values{"Action": {action}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return w.signed(w.admin, "iam", form)
}

func trusting(document string) func(*world) {
	return func(w *world) { w.setTrust(document) }
}
