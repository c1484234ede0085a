package bucket

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/policy"
)

// Access is what decides who may read a bucket's objects: its policy, as text, and its
// public access block. A bucket without a block has the zero value.
type Access struct {
	Policy string
	Block  Block
}

// Block are the four switches of a public access block.
type Block struct {
	BlockPublicACLs, IgnorePublicACLs, BlockPublicPolicy, RestrictPublicBuckets bool
}

// Place is an object.
type Place struct{ Region, Owner, Bucket, Key string }

// ARN names it.
func (p Place) ARN() string {
	return "arn:" + arn.PartitionOf(p.Region) + ":s3:::" + p.Bucket + "/" + p.Key
}

// Reasons for which an object is not open.
var (
	// ErrRestricted: the public access block ends what a policy gives to everybody.
	ErrRestricted = errors.New("RestrictPublicBuckets of the public access block is set")
	// ErrDenied: a statement denies it, whatever others allow.
	ErrDenied = errors.New("the bucket's policy denies it")
	// ErrNotAllowed: no statement allows it.
	ErrNotAllowed = errors.New("the bucket's policy does not allow it")
	// ErrUnread: the policy cannot be judged.
	ErrUnread = errors.New("the bucket's policy cannot be judged")
)

// Open reports why an anonymous GET of an object by https, as STS makes it, is not allowed;
// nil if it is, from whatever public address it comes. now is for conditions on the time.
func (a Access) Open(place Place, now time.Time) error {
	if a.Policy == "" {
		return fmt.Errorf("%w: there is none", ErrNotAllowed)
	}
	parsed, err := policy.Parse(policy.Resource, "bucket policy", []byte(a.Policy))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnread, err)
	}
	sources := addresses(a.Policy)
	for i, source := range sources {
		request := &policy.Request{
			Principal: policy.Principal{Kind: policy.Anonymous}, Action: "s3:GetObject", Resource: place.ARN(),
			ResourceAccount: place.Owner, Context: anonymous(place, source, now),
		}
		policies := &policy.Policies{Resource: parsed}
		decision := policy.Decide(request, policies)
		if decision.Effect == policy.Allowed {
			continue
		}
		why := ErrNotAllowed
		if decision.Effect == policy.ExplicitDeny {
			why = ErrDenied
		}
		if i > 0 {
			return fmt.Errorf("%w from %s, and STS's addresses are not known", why, source)
		}
		return fmt.Errorf("%w: %s", why, policy.Explain(request, policies).Summary())
	}
	if a.Block.RestrictPublicBuckets {
		return ErrRestricted
	}
	return nil
}

// anonymous are the condition keys of STS's GET, as far as they are known. What it says of
// itself is not: a policy that goes by that is not open.
func anonymous(place Place, source netip.Addr, now time.Time) *policy.Context {
	return policy.NewContext().
		Set("aws:SecureTransport", "true").
		Set("aws:SourceIp", source.String()).
		Set("aws:UserAgent", "unknown").
		Set("aws:CurrentTime", now.UTC().Format(time.RFC3339)).
		Set("aws:EpochTime", fmt.Sprint(now.Unix())).
		Set("aws:PrincipalType", "Anonymous").
		Set("aws:PrincipalIsAWSService", "false").
		Set("aws:ViaAWSService", "false").
		Set("aws:RequestedRegion", place.Region).
		Set("aws:ResourceAccount", place.Owner).
		Set("s3:ResourceAccount", place.Owner).
		Set("s3:TlsVersion", "1.2")
}

// addresses are public ones from which a GET may come: some of everywhere, then, for each
// network that a policy names, one inside and the ones beside it. The first is in none of
// them, if there is such a one.
func addresses(document string) []netip.Addr {
	everywhere := []string{
		"3.8.0.1", "18.200.5.9", "52.94.76.1", "99.80.1.1", "150.222.3.4", "203.0.114.7", "2600:1f18::1", "2a05:d018::1",
	}
	var found []netip.Addr
	for _, text := range everywhere {
		found = append(found, netip.MustParseAddr(text))
	}
	var networks []netip.Prefix
	for _, word := range strings.FieldsFunc(document, func(r rune) bool { return r == '"' || r == ' ' || r == ',' }) {
		network, err := netip.ParsePrefix(word)
		if one, wrong := netip.ParseAddr(word); err != nil && wrong == nil {
			network, err = netip.PrefixFrom(one, one.BitLen()), nil
		}
		if err == nil {
			networks = append(networks, network.Masked())
		}
	}
	for _, network := range networks {
		for _, one := range []netip.Addr{network.Addr(), network.Addr().Prev(), last(network), last(network).Next()} {
			if isPublic(one) && !slices.Contains(found, one) {
				found = append(found, one)
			}
		}
	}
	named := func(a netip.Addr) int {
		if slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) }) {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(found, func(a, b netip.Addr) int { return named(a) - named(b) })
	return found
}

func last(network netip.Prefix) netip.Addr {
	bits := network.Addr().AsSlice()
	for i := network.Bits(); i < len(bits)*8; i++ {
		bits[i/8] |= 1 << (7 - i%8)
	}
	address, _ := netip.AddrFromSlice(bits)
	return address
}

// isPublic: only from there can AWS's STS come.
func isPublic(a netip.Addr) bool {
	return a.IsValid() && a.IsGlobalUnicast() && !a.IsPrivate()
}

// Add returns a bucket's policy with one statement more, which opens objects; everything
// else stays as it is, byte for byte. Without a policy it is the statement alone.
func Add(document string, region, name string, objects []string) (string, error) {
	ours, err := Policy(region, name, objects)
	if err != nil || document == "" {
		return string(ours), err
	}
	parsed, err := policy.Parse(policy.Resource, "bucket policy", []byte(document))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnread, err)
	}
	var made struct{ Statement []json.RawMessage }
	if err := json.Unmarshal(ours, &made); err != nil {
		return "", err
	}
	statements, listed := parsed.Statements()
	sids := make([]string, 0, len(statements))
	for _, one := range statements {
		sids = append(sids, one.Sid)
	}
	one := strings.Replace(string(made.Statement[0]), `"`+ownSid+`"`, `"`+free(sids)+`"`, 1)
	last := statements[len(statements)-1]
	if listed {
		return document[:last.End] + "," + one + document[last.End:], nil
	}
	return document[:last.Start] + "[" + document[last.Start:last.End] + "," + one + "]" + document[last.End:], nil
}

// ownSid is that of our statement.
const ownSid = "PublicIssuerDocuments"

func free(taken []string) string {
	sid := ownSid
	for n := 2; slices.Contains(taken, sid); n++ {
		sid = fmt.Sprintf("%s%d", ownSid, n)
	}
	return sid
}
