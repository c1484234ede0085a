package localaws_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/localaws/account"
)

// fill makes roles, each with a trust and an inline policy of its own; all in one
// write, since this is about reading them.
func (w *world) fill(roles int) {
	w.t.Helper()
	owner, _ := w.accounts.Find(accountID)
	err := owner.Update(func(state account.State) error {
		for i := range roles {
			name := fmt.Sprintf("role-%05d", i)
			one := &account.Role{
				Name: name, Path: "/many/", ID: account.NewRoleID(), MaxSession: 3600, Created: epoch,
				Trust: trust(
					`"StringEquals":{"` + issuerID + `:aud":"sts.amazonaws.com","` + issuerID + `:sub":"` + subject +
						`"},"StringNotEquals":{"aws:x":"` + name + `"}`,
				),
			}
			one.Policies = []account.Document{{Name: "own", Text: allow(`"s3:GetObject"`, `"arn:aws:s3:::`+name+`/*"`)}}
			if err := state.PutRole(one); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// listAll reads all pages of ListRoles and returns how many roles they hold.
func (w *world) listAll(size int) int {
	w.t.Helper()
	found := 0
	form := url.Values{"Action": {"ListRoles"}, "PathPrefix": {"/many/"}, "MaxItems": {fmt.Sprint(size)}}
	for {
		got := w.signed(w.admin, "iam", form)
		if got.status != http.StatusOK {
			w.t.Fatal(got.body)
		}
		found += strings.Count(got.body, "<RoleName>")
		_, rest, more := strings.Cut(got.body, "<Marker>")
		if !more {
			return found
		}
		marker, _, _ := strings.Cut(rest, "<")
		form.Set("Marker", marker)
	}
}

// TestManyRoles lists them page by page; BenchmarkRoles says at what cost.
func TestManyRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(10000)
	if found := w.listAll(100); found != 10000 {
		t.Errorf("listed %d of 10000 roles", found)
	}
	// Names sort without regard to case, and a page goes on from one that is gone.
	for _, name := range []string{"B", "a", "C"} {
		w.mustAdmin(url.Values{"Action": {"CreateUser"}, "UserName": {name}, "Path": {"/abc/"}})
	}
	page := w.signed(w.admin, "iam", url.Values{"Action": {"ListUsers"}, "PathPrefix": {"/abc/"}, "MaxItems": {"2"}})
	if !strings.Contains(page.body, "<IsTruncated>true</IsTruncated><Marker>B</Marker>") {
		t.Errorf("first page: %s", page.body)
	}
	w.mustAdmin(url.Values{"Action": {"DeleteUser"}, "UserName": {"B"}})
	page = w.signed(w.admin, "iam", url.Values{"Action": {"ListUsers"}, "PathPrefix": {"/abc/"}, "Marker": {"B"}})
	if strings.Count(page.body, "<UserName>") != 1 || !strings.Contains(page.body, "<UserName>C</UserName>") {
		t.Errorf("second page: %s", page.body)
	}
}

// BenchmarkRoles compares accounts of few and of many roles: listing costs the
// same for each role, and evaluating one the same whatever there is besides.
func BenchmarkRoles(b *testing.B) {
	for _, roles := range []int{100, 10000} {
		b.Run(fmt.Sprint(roles), func(b *testing.B) {
			w := newWorld(b)
			w.caching = "max-age=3600"
			w.fill(roles)
			b.Run("list", func(b *testing.B) {
				for b.Loop() {
					w.listAll(100)
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*roles), "µs/role")
			})
			raw, i := w.token(w.key, nil), 0
			b.Run("evaluate", func(b *testing.B) {
				for b.Loop() {
					i = (i + 7919) % roles // all of them, in no order
					form := url.Values{
						"Action":           {"AssumeRoleWithWebIdentity"},
						"Version":          {"2011-06-15"},
						"RoleSessionName":  {"s1"},
						"WebIdentityToken": {raw},
						"RoleArn":          {fmt.Sprintf("arn:aws:iam::111122223333:role/many/role-%05d", i)},
					}
					if got := w.do(w.request(http.MethodPost, "", form.Encode())); got.status != http.StatusOK {
						b.Fatal(got.body)
					}
				}
			})
			b.Run("change", func(b *testing.B) { // more than the quota cannot be created
				for b.Loop() {
					w.setTrust(trust(`"StringEquals":{"` + issuerID + `:sub":"x"}`))
				}
			})
		})
	}
}
