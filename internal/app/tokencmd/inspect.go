package tokencmd

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/token"
)

// Kinds of tokens.
const (
	kindOfCaller = "GetCallerIdentity"
	kindOfJWT    = "JWT"
)

// inspected is the JSON of `token inspect`.
type inspected struct {
	Kind string `json:"kind"`
	// Of GetCallerIdentity.
	Host        string `json:"host,omitempty"`
	Region      string `json:"region,omitempty"`
	AccessKeyID string `json:"accessKeyId,omitempty"`
	// IsSession says that the credentials are temporary.
	IsSession *bool `json:"session,omitempty"`
	// HasCluster says that a cluster's name was signed, which is not in the token itself.
	HasCluster *bool `json:"clusterSigned,omitempty"`
	// Of JWTs.
	Algorithm string                     `json:"algorithm,omitempty"`
	KeyID     string                     `json:"keyId,omitempty"`
	Claims    map[string]json.RawMessage `json:"claims,omitempty"`
	// Of both.
	Signed *time.Time `json:"signedAt,omitempty"`
	Until  *time.Time `json:"validUntil,omitempty"`
	// Problem is why no server would take it.
	Problem string `json:"problem,omitempty"`
}

func newInspect(sys cli.System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect [TOKEN | -]",
		Short: "Say what is in a token, without its signature",
		Long: `Take a token apart and say what it claims: a presigned GetCallerIdentity token its key,
region and time, a JWT, such as a service account's, its claims. Nobody is asked, nothing
is verified, and no signature or session token is shown. For which cluster a presigned
token is stands in its signature only.`,
		Example: `  rolecall token --cluster-name prod | rolecall token inspect
  kubectl create token default | rolecall token inspect -o json`,
		Args: cobra.MaximumNArgs(1),
	}
	var output *string
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		given, err := given(sys, args)
		if err != nil {
			return err
		}
		found, err := inspect(given, sys.Now())
		if err != nil {
			return err
		}
		if *output == "json" {
			return cli.PrintJSON(sys.Stdout, found)
		}
		return found.print(sys.Stdout, sys.Now())
	}
	output = cli.Output(cmd, "text", "json")
	return cmd
}

func inspect(given credential.Secret, now time.Time) (inspected, error) {
	if strings.HasPrefix(given.Reveal(), "eyJ") {
		return inspectJWT(given, now)
	}
	said, err := callerid.Read(given)
	if err != nil {
		return inspected{}, err
	}
	_, region, _ := strings.Cut(said.Scope, "/")
	region, _, _ = strings.Cut(region, "/")
	hasCluster := strings.Contains(";"+strings.ToLower(said.SignedHeaders)+";", ";"+callerid.ClusterHeader+";")
	found := inspected{
		Kind: kindOfCaller, Host: said.Host, Region: region, AccessKeyID: said.AccessKeyID, IsSession: &said.IsSession,
		HasCluster: &hasCluster,
	}
	if !said.Signed.IsZero() {
		until := said.Signed.Add(callerid.Lifetime)
		found.Signed, found.Until = &said.Signed, &until
	}
	partition := cmp.Or(arn.PartitionOf(region), "aws")
	if _, err := callerid.Parse(given, callerid.Policy{Partition: partition}, now); err != nil {
		found.Problem = err.Error()
	}
	return found, nil
}

func inspectJWT(given credential.Secret, now time.Time) (inspected, error) {
	decoded, err := token.Decode(given.Reveal())
	if err != nil {
		return inspected{}, fault.New(fault.Invalid, "%w", err)
	}
	found := inspected{
		Kind: kindOfJWT, Algorithm: decoded.Header.Algorithm, KeyID: decoded.Header.KeyID, Claims: decoded.Claims,
		Signed: timeOf(decoded.Claims["iat"]), Until: timeOf(decoded.Claims["exp"]),
	}
	begins := timeOf(decoded.Claims["nbf"])
	switch {
	case found.Until != nil && !now.Before(*found.Until):
		found.Problem = "it has expired"
	case begins != nil && now.Before(*begins):
		found.Problem = "it is not valid yet"
	}
	return found, nil
}

// timeOf reads a NumericDate.
func timeOf(claim json.RawMessage) *time.Time {
	var seconds float64
	if len(claim) == 0 || json.Unmarshal(claim, &seconds) != nil || seconds < 0 || seconds > 1<<40 {
		return nil
	}
	at := time.Unix(int64(seconds), 0).UTC()
	return &at
}

func (i *inspected) print(to io.Writer, now time.Time) error {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	switch i.Kind {
	case kindOfCaller:
		fmt.Fprintf(table, "token\tpresigned request to sts:GetCallerIdentity\n")
		kind := "a long-term key"
		if *i.IsSession {
			kind = "temporary credentials"
		}
		fmt.Fprintf(
			table,
			"who\tthe owner of the key %s, %s; rolecall token verify asks STS\n",
			plain(i.AccessKeyID),
			kind,
		)
		cluster := "that it was signed for, which is not in it; rolecall token verify tells whether it is the right one"
		if !*i.HasCluster {
			cluster = "none: the header " + callerid.ClusterHeader + " was not signed"
		}
		fmt.Fprintf(table, "cluster\t%s\n", cluster)
		fmt.Fprintf(table, "host\t%s, region %s\n", plain(i.Host), plain(i.Region))
	case kindOfJWT:
		fmt.Fprintf(table, "token\tJWT, %s, key %s\n", plain(i.Algorithm), plain(i.KeyID))
		for _, claim := range []struct{ name, title string }{
			{"sub", "who"}, {"iss", "issuer"}, {"aud", "for"}, {"kubernetes.io", "workload"},
		} {
			if text := i.Claims[claim.name]; len(text) > 0 {
				fmt.Fprintf(table, "%s\t%s\n", claim.title, plain(string(text)))
			}
		}
	}
	if i.Signed != nil {
		fmt.Fprintf(table, "signed\t%s\n", i.Signed.Format(time.RFC3339))
	}
	if i.Until != nil {
		fmt.Fprintf(table, "valid until\t%s\n", until(*i.Until, now))
	}
	if i.Problem != "" {
		fmt.Fprintf(table, "problem\t%s\n", i.Problem)
	}
	return table.Flush()
}

// plain is a text that does nothing to a terminal.
func plain(text string) string {
	quoted := fmt.Sprintf("%q", text)
	if quoted == `"`+text+`"` && text != "" {
		return text
	}
	return strings.ReplaceAll(quoted, `\"`, `"`)
}
