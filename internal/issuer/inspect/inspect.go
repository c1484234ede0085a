package inspect

import (
	"encoding/json"
	"fmt"
	"mime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/issuer/bucket"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/rawjson"
	"github.com/rolecall/rolecall/internal/token"
)

// Inspect finds what makes STS refuse tokens of the issuer, in the order in
// which STS would notice, then what is unwise.
func Inspect(o Observation) []finding.Finding {
	r := &report{}
	r.url(o.Issuer)
	if discovery, ok := r.discovery(o); ok {
		r.jwks(o, discovery)
		if discovery.Issuer == o.Issuer {
			r.elsewhere(o, discovery.JWKSURI)
		}
		r.unserved(o)
	}
	r.bucketOwner(o)
	r.servers(o)
	r.providers(o)
	r.role(o)
	r.token(o)
	return r.findings
}

func (r *report) url(issuer string) {
	switch {
	case strings.HasPrefix(issuer, "https://kubernetes.default.svc"):
		r.add(finding.Error, "default-issuer", generic,
			"rolecall issuer init --for DISTRIBUTION prints the settings: a public URL first, the present one second",
			"the issuer is Kubernetes' default, which nobody outside the cluster can reach")
	case token.CheckIssuer(issuer) != nil:
		r.add(finding.Error, "issuer-url", generic,
			"rolecall issuer init --dir NEW --url https://HOST/PATH: another URL is another issuer",
			token.CheckIssuer(issuer).Error())
	case token.CheckTokenIssuer(issuer) != nil:
		r.add(finding.Error, "issuer-dual-stack", generic,
			"aws eks describe-cluster --name NAME --query cluster.identity.oidc.issuer prints the issuer",
			token.CheckTokenIssuer(issuer).Error())
	case strings.HasSuffix(issuer, "/"):
		r.add(finding.Warning, "trailing-slash", "", "leave it if it is in use: another URL is another issuer",
			"the issuer URL ends with a slash, which must then be in --service-account-issuer, the provider and "+
				"every condition key")
	}
}

// discoveryDocument is what AWS reads of it.
type discoveryDocument struct {
	Issuer     string    `json:"issuer"`
	JWKSURI    string    `json:"jwks_uri"`
	Responses  *[]string `json:"response_types_supported"`
	Subjects   *[]string `json:"subject_types_supported"`
	Algorithms *[]string `json:"id_token_signing_alg_values_supported"`
}

func (r *report) discovery(o Observation) (discoveryDocument, bool) {
	var document discoveryDocument
	if !r.fetched("discovery", o.Discovery, o.Now) {
		return document, false
	}
	if err := json.Unmarshal(o.Discovery.Text, &document); err != nil {
		r.add(finding.Error, "discovery-json", cannotRetrieve, "rolecall issuer publish",
			"the discovery document is not JSON: "+err.Error())
		return document, false
	}
	if name, twice := rawjson.Twice(o.Discovery.Text); twice {
		r.add(finding.Error, "discovery-json", generic, "rolecall issuer publish",
			fmt.Sprintf("the discovery document has the member %q twice: which counts is its reader's choice", name))
	}
	if document.Issuer != o.Issuer {
		message := fmt.Sprintf("the discovery document is of issuer %q, not of %q", document.Issuer, o.Issuer)
		if strings.TrimSuffix(document.Issuer, "/") == strings.TrimSuffix(o.Issuer, "/") {
			message += ": they differ by the slash at the end, and are two issuers"
		}
		r.add(finding.Error, "issuer-differs", cannotRetrieve,
			"rolecall issuer publish, with spec.url in issuer.yaml byte for byte that of --service-account-issuer",
			message)
	}
	for _, member := range []struct {
		name  string
		value *[]string
	}{
		{"response_types_supported", document.Responses},
		{"subject_types_supported", document.Subjects},
		{"id_token_signing_alg_values_supported", document.Algorithms},
	} {
		if member.value == nil {
			r.add(finding.Error, "discovery-member", cannotRetrieve, "rolecall issuer publish",
				"the discovery document lacks "+member.name)
		}
	}
	if !strings.HasPrefix(document.JWKSURI, "https://") {
		r.add(finding.Error, "jwks-uri", cannotRetrieve,
			"rolecall issuer publish; for the API servers' own document set --service-account-jwks-uri",
			fmt.Sprintf("jwks_uri is %q: want an https URL", document.JWKSURI))
		return document, false
	}
	return document, true
}

// fetched judges one answer; what is wrong with its content is for others.
func (r *report) fetched(what string, f Fetched, now time.Time) bool {
	if !f.Done {
		r.add(finding.Info, what+"-not-read", "", "", "the "+what+" document was not read")
		return false
	}
	r.certificate(what, f)
	switch {
	case f.Err != "":
		r.add(finding.Error, what+"-unreachable", cannotRetrieve,
			"curl -v --max-time 5 "+f.URL+" shows it: it must answer anybody within 5 seconds, with less than a "+
				"megabyte", f.URL+": "+f.Err)
		return false
	case f.Status == 403:
		r.add(finding.Error, what+"-not-public", cannotRetrieve, openBucket(f.URL),
			f.URL+" answers 403 to anonymous readers")
		return false
	case f.Status != 200:
		r.add(finding.Error, what+"-status", cannotRetrieve, "publish it there: rolecall issuer publish",
			f.URL+" answers "+strconv.Itoa(f.Status)+", want 200")
		return false
	}
	if f.Redirected != "" {
		r.add(finding.Error, what+"-redirect", cannotRetrieve,
			"curl -sI "+f.URL+" shows it: serve the document there, or use the URL of the bucket's region as the "+
				"issuer: rolecall issuer init",
			f.URL+" redirects to "+f.Redirected+": AWS asks for an answer of 200")
	}
	media, _, err := mime.ParseMediaType(f.ContentType)
	if isJSON := media == "application/json" || media == "application/jwk-set+json"; err != nil || !isJSON {
		r.add(finding.Warning, what+"-content-type", "", "rolecall issuer publish",
			fmt.Sprintf("%s has Content-Type %q: want application/json", f.URL, f.ContentType))
	}
	r.cache(what, f)
	if !f.Date.IsZero() && f.Date.Sub(now).Abs() > 5*time.Minute {
		r.add(finding.Warning, "clock", "InvalidIdentityToken: Token issued in the future, or ExpiredTokenException",
			"timedatectl set-ntp true",
			fmt.Sprintf("this machine's clock differs from that of %s by %s", f.URL,
				now.Sub(f.Date).Round(time.Second)))
	}
	return true
}

// certificate judges by whether a thumbprint helps: IAM compares it when it does
// not know the authority, not when the name or the dates are wrong.
func (r *report) certificate(what string, f Fetched) {
	host, _, _ := strings.Cut(strings.TrimPrefix(f.URL, "https://"), "/")
	look := "openssl s_client -showcerts -connect " + withPort(host) + " shows it: "
	switch {
	case f.Certificate.Err == "":
	case f.Certificate.Untrusted:
		r.add(finding.Warning, what+"-certificate", thumbprintDiffers,
			look+"serve a publicly trusted one with its intermediates, or register the thumbprint "+
				f.Certificate.Thumbprint+" with the provider",
			"the certificate of "+f.URL+" is not publicly trusted: "+f.Certificate.Err)
	default:
		r.add(finding.Error, what+"-certificate", cannotRetrieve, look+"serve one that names "+host+" and is valid now",
			"the certificate of "+f.URL+": "+f.Certificate.Err)
	}
}

func withPort(host string) string {
	if strings.Contains(host, ":") {
		return host
	}
	return host + ":443"
}

// openBucket says how to open an object, with the bucket's name if the URL tells.
func openBucket(url string) string {
	name, found := bucket.Of(url)
	if !found {
		return "curl -i " + url +
			" shows it: anybody must be able to read it; for a private bucket behind CloudFront, give the " +
			"distribution access to the object"
	}
	return "aws s3api put-public-access-block --bucket " + name +
		" --public-access-block-configuration " +
		"BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=false,RestrictPublicBuckets=false, " +
		"then rolecall issuer init with its first flags, which opens the two objects by the bucket's policy; " +
		"objects encrypted with KMS must be written again: rolecall issuer publish"
}

func (r *report) cache(what string, f Fetched) {
	age, found := MaxAge(f.CacheControl)
	switch {
	case !found && f.CacheControl == "":
		r.add(finding.Warning, what+"-cache", "", "rolecall issuer publish",
			f.URL+" has no Cache-Control: readers keep it for as long as they like")
	case found && age > time.Hour:
		r.add(finding.Warning, what+"-cache", "", "rolecall issuer publish",
			fmt.Sprintf("%s may be kept for %s: want at most an hour, five minutes while keys rotate", f.URL, age))
	}
}

// MaxAge reads the max-age of a Cache-Control header.
func MaxAge(header string) (time.Duration, bool) {
	for directive := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		if !strings.EqualFold(name, "max-age") {
			continue
		}
		seconds, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 32)
		if err != nil || seconds < 0 {
			return 0, false
		}
		return time.Duration(seconds) * time.Second, true
	}
	return 0, false
}

func (r *report) servers(o Observation) {
	if len(o.Servers) == 0 {
		r.add(finding.Info, "servers-not-read", "", "add --kubeconfig, and --api-server for each API server",
			"no API server was asked which keys it signs with")
		return
	}
	published := publishedIDs(o)
	for _, server := range o.Servers {
		if server.Err != "" {
			r.add(finding.Warning, "server-unreadable", "", "",
				"API server "+server.Name+" cannot be read: "+server.Err)
			continue
		}
		if server.Issuer != "" && server.Issuer != o.Issuer {
			r.add(finding.Error, "token-issuer", generic,
				"rolecall issuer init --for DISTRIBUTION prints the settings: this issuer first, the present one "+
					"second",
				fmt.Sprintf("tokens of API server %s are of issuer %q, not of %q", server.Name,
					server.Issuer, o.Issuer))
		}
		if server.Signs != "" && published != nil && !slices.Contains(published, server.Signs) {
			r.add(finding.Error, "signing-key-unpublished", cannotRetrieve, "rolecall issuer publish",
				"API server "+server.Name+" signs with "+server.Signs+", which is not published")
		}
		if server.Signs != "" && !slices.Contains(document.IDs(server.Keys), server.Signs) {
			r.add(finding.Error, "signing-key-unverifiable", "", "add its public key to --service-account-key-file",
				"API server "+server.Name+" does not accept the tokens it signs itself, with "+server.Signs)
		}
		for _, kid := range document.IDs(server.Keys) {
			if published != nil && kid != server.Signs && !slices.Contains(published, kid) {
				r.add(finding.Warning, "served-key-unpublished", "", "rolecall issuer publish",
					"API server "+server.Name+" accepts "+kid+", which is not published")
			}
		}
		if first := o.Servers[0]; server.Signs != first.Signs && server.Signs != "" && first.Signs != "" {
			r.add(finding.Warning, "servers-differ", "", "finish the rotation: rolecall issuer rotate status",
				fmt.Sprintf("API server %s signs with %s, %s with %s", server.Name, server.Signs, first.Name,
					first.Signs))
		}
	}
}

// publishedIDs is nil if the keys could not be read.
func publishedIDs(o Observation) []string {
	keys, err := token.ReadJWKS(o.JWKS.Text)
	if !o.JWKS.Done || o.JWKS.Err != "" || o.JWKS.Status != 200 || err != nil {
		return nil
	}
	return append([]string{}, document.IDs(keys)...)
}

func (r *report) providers(o Observation) {
	if len(o.Providers) == 0 {
		r.add(finding.Info, "providers-not-read", "", "give AWS credentials with iam:GetOpenIDConnectProvider",
			"IAM was not asked about the provider")
	}
	for _, provider := range o.Providers {
		r.provider(o, provider)
	}
}

func (r *report) provider(o Observation, p Provider) {
	where := "account " + p.Account
	switch {
	case p.Err != "":
		r.add(finding.Warning, "provider-unreadable", "", "", where+": IAM cannot be asked: "+p.Err)
		return
	case p.URL == "":
		message := where + " has no OIDC provider for " + o.Issuer
		if near := nearest(arn.IssuerID(o.Issuer), p.Near); near != "" {
			message += "; it has one for https://" + near
		}
		r.add(finding.Error, "provider-missing",
			generic+"; before mid-2026: No OpenIDConnect provider found in your account",
			"aws iam create-open-id-connect-provider --url "+o.Issuer+" --client-id-list "+strings.Join(o.Audiences,
				" ")+", or rolecall issuer init", message)
		return
	}
	if len(p.ClientIDs) == 0 {
		r.add(finding.Error, "provider-without-audience", generic,
			"aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn "+p.ARN+
				" --client-id sts.amazonaws.com", where+": the provider has no audience, so every token fails")
	}
	for _, audience := range o.Audiences {
		if len(p.ClientIDs) > 0 && !slices.Contains(p.ClientIDs, audience) {
			r.add(finding.Error, "audience-unregistered", generic+"; before mid-2026: Incorrect token audience",
				"aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn "+p.ARN+
					" --client-id "+audience,
				fmt.Sprintf("%s: the provider accepts the audience %s, not %s", where, either(p.ClientIDs), audience))
		}
	}
	r.thumbprints(o, p, where)
}

// role checks that the role's account has a provider: STS looks for it there and
// nowhere else.
func (r *report) role(o Observation) {
	if o.RoleARN == "" || len(o.Providers) == 0 {
		return
	}
	fields := strings.SplitN(o.RoleARN, ":", 6)
	if len(fields) != 6 || fields[0] != "arn" || fields[2] != "iam" || !strings.HasPrefix(fields[5], "role/") {
		r.add(finding.Error, "role-arn", "ValidationError: "+o.RoleARN+" is invalid",
			"aws iam get-role --role-name NAME --query Role.Arn --output text",
			fmt.Sprintf("%q is not the ARN of a role", o.RoleARN))
		return
	}
	partition, account := fields[1], fields[4]
	for _, provider := range o.Providers {
		_, rest, _ := strings.Cut(provider.ARN, ":")
		own, _, _ := strings.Cut(rest, ":")
		switch {
		case provider.Account == account && own != partition:
			r.add(finding.Error, "role-partition", generic,
				"write it as arn:"+own+strings.TrimPrefix(o.RoleARN, "arn:"+partition),
				fmt.Sprintf("role %s is of partition %s, account %s is in %s", o.RoleARN, partition, account, own))
			return
		case provider.Account == account:
			return
		case provider.Err != "":
			return // it may be that account
		}
	}
	r.add(finding.Error, "role-account", generic+"; before mid-2026: No OpenIDConnect provider found in your account",
		"rolecall issuer init --provider-role arn:"+partition+":iam::"+account+":role/NAME, with its first flags, "+
			"makes a provider there too",
		fmt.Sprintf("role %s is in account %s, in which there is no provider that is known here", o.RoleARN, account))
}

func (r *report) thumbprints(o Observation, p Provider, where string) {
	certificate := o.JWKS.Certificate
	if certificate.Thumbprint == "" {
		return
	}
	registered := slices.Contains(p.Thumbprints, certificate.Thumbprint)
	switch {
	case certificate.Untrusted && !registered:
		r.add(finding.Error, "thumbprint", thumbprintDiffers,
			"aws iam update-open-id-connect-provider-thumbprint --open-id-connect-provider-arn "+p.ARN+
				" --thumbprint-list "+certificate.Thumbprint,
			fmt.Sprintf("%s: the certificate is not publicly trusted and its thumbprint %s is not registered: %s", where,
				certificate.Thumbprint, either(p.Thumbprints)))
	case certificate.Err == "" && len(p.Thumbprints) > 0 && !registered:
		r.add(finding.Info, "thumbprint-unused", "", "",
			where+": the registered thumbprints do not match, and need not: the certificate is publicly trusted")
	}
}

// nearest returns the provider that differs least, if it could be a slip: the
// same but for case, a slash at the end or the path.
func nearest(want string, others []string) string {
	host, _, _ := strings.Cut(want, "/")
	best := ""
	for _, other := range others {
		otherHost, _, _ := strings.Cut(other, "/")
		switch {
		case strings.EqualFold(strings.TrimSuffix(other, "/"), strings.TrimSuffix(want, "/")):
			return other
		case strings.EqualFold(host, otherHost):
			best = other
		}
	}
	return best
}

// either lists texts for a sentence.
func either(texts []string) string {
	if len(texts) == 0 {
		return "(none)"
	}
	return strings.Join(texts, " or ")
}
