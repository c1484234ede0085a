package awsapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
)

// LoginConfig says as whom clusters are entered: with the credentials that the SDK finds,
// and then the roles that are assumed one with another.
type LoginConfig struct {
	// Region and Profile replace those of the environment. A profile that is given here
	// is taken even if the environment has keys.
	Region, Profile string
	// Roles are the ARNs of a chain; the last one's session signs.
	Roles []string
	// SessionName is that of the sessions of Roles. Empty means the name of who assumes
	// the first one. Roles of profiles that say no name get it in the same way.
	SessionName string
	// ExternalID is sent with each of Roles.
	ExternalID string
	// MFASerial is the device whose code the first of Roles is assumed with.
	MFASerial string
	// Code asks for the code of a device, for Roles and for those of profiles.
	Code func(ctx context.Context, serial string) (string, error)
	// Skew is told how far this clock is ahead of AWS's, with each answer.
	Skew func(time.Duration)
	// Known and Learn keep credentials from one process to the next. Only those of
	// sessions are told, with the time they end.
	Known func(LoginStep) (credential.AWS, bool)
	Learn func(LoginStep, credential.AWS)
	Now   func() time.Time
}

// LoginStep names credentials on the way: those of the environment, or of a role.
type LoginStep struct {
	// AccessKeyID is that of the environment's credentials, with which the first of Roles
	// was assumed; empty, like Roles, for those credentials themselves.
	AccessKeyID string
	// Roles are all that were assumed, the last one's session being meant.
	Roles []string
}

// Login is a way to enter clusters.
type Login struct {
	c      LoginConfig
	loaded aws.Config
	// said is the region that somebody named; loaded has one anyway.
	said string
}

const (
	// roleDuration is what sessions are asked to last. Every role may have it, and no
	// session of a session is longer.
	roleDuration = time.Hour
	// ownName stands for the name of a session that nobody chose. STS would not take it.
	ownName = "?"
	// keptSource is the source of credentials of an earlier process.
	keptSource = "a session that was kept"
	// unsaidRegion is whose STS is asked if nobody names a region.
	unsaidRegion = "us-east-1"
)

// NewLogin reads the SDK's configuration and makes no call.
func NewLogin(ctx context.Context, c LoginConfig) (*Login, error) {
	l := &Login{c: c}
	options := []func(*config.LoadOptions) error{
		config.WithAPIOptions([]func(*middleware.Stack) error{l.readsClock, meansEndpoint}),
		config.WithAssumeRoleCredentialOptions(l.roleOfProfile(ctx)),
		config.WithWebIdentityRoleCredentialOptions(nameOfSubject),
	}
	if c.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.Profile))
	}
	loaded, err := load(ctx, append(options, config.WithRegion(c.Region))...)
	if err == nil && loaded.Region == "" { // clients of profiles' roles are made with it
		loaded, err = load(ctx, append(options, config.WithRegion(unsaidRegion))...)
	} else {
		l.said = loaded.Region
	}
	if err != nil {
		return nil, err
	}
	l.loaded = loaded
	return l, nil
}

// askedForCredentials are the services of AWS that give them. The agents of containers are
// not: what is sent to them must not go anywhere else.
var askedForCredentials = []string{"STS", "SSO", "SSO OIDC", "Signin"}

// meansEndpoint makes clients call AWS_ENDPOINT_URL, if that is set. The SDK looks there
// only after it has made the clients that profiles get their credentials with: those would
// ask AWS about the keys of a local one.
func meansEndpoint(stack *middleware.Stack) error {
	said, err := config.NewEnvConfig()
	if err != nil || said.BaseEndpoint == "" ||
		said.IgnoreConfiguredEndpoints != nil && *said.IgnoreConfiguredEndpoints {
		return err
	}
	const resolver = "ResolveEndpointV2"
	if _, has := stack.Finalize.Get(resolver); !has { // that of an instance's metadata
		return nil
	}
	endpoint, err := url.Parse(said.BaseEndpoint)
	if err != nil {
		return err
	}
	return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("RolecallEndpoint", func(
		ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler,
	) (middleware.FinalizeOutput, middleware.Metadata, error) {
		service := awsmiddleware.GetServiceID(ctx)
		_, isSaid, _ := said.GetServiceBaseEndpoint(ctx, service)
		request, ok := in.Request.(*smithyhttp.Request)
		if ok && slices.Contains(askedForCredentials, service) && !isSaid && request.URL.Host != endpoint.Host {
			request.URL.Scheme, request.URL.Host = endpoint.Scheme, endpoint.Host
			request.URL.Path = smithyhttp.JoinPath(endpoint.Path, request.URL.Path)
		}
		return next.HandleFinalize(ctx, in)
	}), resolver, middleware.After)
}

// roleOfProfile are the options of a role that a profile assumes.
func (l *Login) roleOfProfile(ctx context.Context) func(*stscreds.AssumeRoleOptions) {
	return func(o *stscreds.AssumeRoleOptions) {
		o.Duration = cmp.Or(o.Duration, roleDuration)
		o.TokenProvider = func() (string, error) { return l.c.Code(ctx, aws.ToString(o.SerialNumber)) }
		if client, ok := o.Client.(*sts.Client); ok {
			o.RoleSessionName = cmp.Or(o.RoleSessionName, ownName)
			o.Client = namingClient{client}
		}
	}
}

// namingClient assumes roles under the name of who asks, where nobody chose one.
type namingClient struct{ *sts.Client }

// AssumeRole asks STS first who asks.
func (n namingClient) AssumeRole(
	ctx context.Context, in *sts.AssumeRoleInput, options ...func(*sts.Options),
) (*sts.AssumeRoleOutput, error) {
	if aws.ToString(in.RoleSessionName) == ownName {
		who, err := n.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return nil, err
		}
		in.RoleSessionName = aws.String(cmp.Or(callerid.SessionNameOf(aws.ToString(who.Arn)), "rolecall"))
	}
	return n.Client.AssumeRole(ctx, in, options...)
}

// nameOfSubject names the session of a web identity after the token's subject, if nobody
// chose a name.
func nameOfSubject(o *stscreds.WebIdentityRoleOptions) {
	if o.RoleSessionName != "" || o.TokenRetriever == nil {
		return
	}
	if text, err := o.TokenRetriever.GetIdentityToken(); err == nil {
		o.RoleSessionName = subjectName(text)
	}
}

// readsClock adds a look at the time of each answer.
func (l *Login) readsClock(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("RolecallClock", func(
		ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler,
	) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, metadata, err := next.HandleDeserialize(ctx, in)
		if answer, ok := out.RawResponse.(*smithyhttp.Response); ok && answer.Response != nil {
			if there, parseErr := http.ParseTime(answer.Header.Get("Date")); parseErr == nil {
				l.c.Skew(l.c.Now().Sub(there))
			}
		}
		return out, metadata, err
	}), middleware.After)
}

// Session is somebody who can sign tokens.
type Session struct {
	login *Login
	own   aws.Credentials
	// Source is where the first credentials were found, in the SDK's words.
	Source string
}

// Session finds the credentials, and assumes the roles.
func (l *Login) Session(ctx context.Context) (*Session, error) {
	own, known := l.known(LoginStep{})
	if !known {
		var err error
		if own, err = l.loaded.Credentials.Retrieve(ctx); err != nil {
			return nil, err
		}
		if asksAWS(own.Source) {
			l.learn(LoginStep{}, own)
		}
	}
	found := &Session{login: l, own: own, Source: own.Source}
	done := 0
	for i := len(l.c.Roles); i > 0; i-- {
		if before, known := l.known(LoginStep{found.own.AccessKeyID, l.c.Roles[:i]}); known {
			own, done = before, i
			break
		}
	}
	name := l.c.SessionName
	for i := done; i < len(l.c.Roles); i++ {
		var err error
		if name == "" {
			if name, err = l.nameOf(ctx, found.own); err != nil {
				return nil, fmt.Errorf("ask for the caller's name: %w", err)
			}
		}
		if own, err = l.assume(ctx, own, l.c.Roles[i], name, i == 0); err != nil {
			return nil, err
		}
		l.learn(LoginStep{found.own.AccessKeyID, l.c.Roles[:i+1]}, own)
	}
	found.own = own
	return found, nil
}

// asksAWS reports whether credentials were made by a service of AWS. Those of programs,
// agents and instances are fetched again instead of kept: they are near, and how they
// are kept is theirs to say.
func asksAWS(source string) bool {
	return slices.Contains(
		[]string{stscreds.ProviderName, stscreds.WebIdentityProviderName, ssocreds.ProviderName}, source)
}

// IsLent reports whether the first credentials are an instance's or an agent's, who may give
// somebody else's at the next call: nothing that could be seen without asking them changes
// then.
func (s *Session) IsLent() bool {
	return s.Source == ec2rolecreds.ProviderName || s.Source == endpointcreds.ProviderName
}

func (l *Login) known(step LoginStep) (aws.Credentials, bool) {
	kept, known := l.c.Known(step)
	if !known {
		return aws.Credentials{}, false
	}
	return aws.Credentials{
		AccessKeyID: kept.AccessKeyID, SecretAccessKey: kept.SecretKey.Reveal(),
		SessionToken: kept.SessionToken.Reveal(), CanExpire: true, Expires: kept.Expires, Source: keptSource,
	}, true
}

func (l *Login) learn(step LoginStep, own aws.Credentials) {
	if !own.CanExpire || own.SessionToken == "" {
		return
	}
	l.c.Learn(step, credential.AWS{
		AccessKeyID: own.AccessKeyID, SecretKey: credential.NewSecret(own.SecretAccessKey),
		SessionToken: credential.NewSecret(own.SessionToken), Expires: own.Expires,
	})
}

// client signs with credentials.
func (l *Login) client(own aws.Credentials) *sts.Client {
	return sts.NewFromConfig(l.loaded, func(o *sts.Options) {
		o.Credentials = credentials.StaticCredentialsProvider{Value: own}
	})
}

func (l *Login) nameOf(ctx context.Context, own aws.Credentials) (string, error) {
	who, err := l.client(own).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", err
	}
	return cmp.Or(callerid.SessionNameOf(aws.ToString(who.Arn)), "rolecall"), nil
}

func (l *Login) assume(
	ctx context.Context, own aws.Credentials, role, name string, isFirst bool,
) (aws.Credentials, error) {
	provider := stscreds.NewAssumeRoleProvider(l.client(own), role, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName, o.Duration = name, roleDuration
		o.ExternalID = present(l.c.ExternalID)
		if isFirst && l.c.MFASerial != "" {
			o.SerialNumber = aws.String(l.c.MFASerial)
			o.TokenProvider = func() (string, error) { return l.c.Code(ctx, l.c.MFASerial) }
		}
	})
	return provider.Retrieve(ctx)
}

// Token signs one for a cluster, and says until when it is to be used: as long as any
// token, but no longer than the credentials last.
func (s *Session) Token(ctx context.Context, cluster string) (credential.Secret, time.Time, error) {
	l := s.login
	host, region, err := l.place(ctx, s.Source)
	if err != nil {
		return credential.Secret{}, time.Time{}, err
	}
	now := l.c.Now()
	until := now.Add(callerid.Advertised)
	if s.own.CanExpire && s.own.Expires.Before(until) {
		until = s.own.Expires
	}
	if !until.After(now) {
		return credential.Secret{}, time.Time{}, fmt.Errorf("%w: they ended at %s",
			ErrEnded, s.own.Expires.UTC().Format(time.RFC3339))
	}
	made, err := presignCallerIdentity(ctx, s.own, host, region, cluster, now)
	return made, until.UTC().Truncate(time.Second), err
}

// ErrEnded is that credentials were found which are no longer good.
var ErrEnded = errors.New("the credentials have expired")

// place is the host that tokens name and the region they are signed for.
func (l *Login) place(ctx context.Context, source string) (host, region string, err error) {
	loaded := l.loaded
	if l.said == "" && source == ec2rolecreds.ProviderName {
		if loaded.Region, err = instanceRegion(ctx, loaded); err != nil {
			return "", "", err
		}
	}
	host, err = stsHost(ctx, loaded)
	return host, signingRegion(host, loaded.Region), err
}

// Place is the host of STS that tokens of this session name, and the region they are
// signed for.
func (s *Session) Place(ctx context.Context) (host, region string, err error) {
	return s.login.place(ctx, s.Source)
}

// Identity asks STS who this is.
func (s *Session) Identity(ctx context.Context) (Identity, error) {
	answer, err := s.login.client(s.own).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return Identity{}, err
	}
	return Identity{
		ARN: aws.ToString(answer.Arn), UserID: aws.ToString(answer.UserId), Account: aws.ToString(answer.Account),
	}, nil
}

// HasKeysBesideProfile reports whether the environment has both keys and the name of a
// profile. The SDK then takes the keys.
func HasKeysBesideProfile() (profile string, has bool) {
	said, err := config.NewEnvConfig()
	if err != nil || !said.Credentials.HasKeys() {
		return "", false
	}
	return said.SharedConfigProfile, said.SharedConfigProfile != ""
}

// ExplainLogin makes a fault of what went wrong on the way to a session, with what to do.
func ExplainLogin(c LoginConfig, err error) error {
	if found, isFault := errors.AsType[*fault.Error](err); isFault {
		return found
	}
	profile := cmp.Or(c.Profile, os.Getenv("AWS_PROFILE"), os.Getenv("AWS_DEFAULT_PROFILE"))
	missing, isMissing := errors.AsType[config.SharedConfigProfileNotExistError](err)
	_, isSSO := errors.AsType[*ssocreds.InvalidTokenError](err)
	text := err.Error()
	switch {
	case isMissing:
		return fault.New(fault.NotFound, "there is no profile %q in %s", missing.Profile, strings.Join(sharedFiles(),
			" or ")).
			Hint("aws configure list-profiles shows those that there are")
	case errors.Is(err, ErrEnded):
		return fault.New(fault.Denied, "%w", err).Hint("%s", renew(profile))
	case isSSO, strings.Contains(text, "SSO token"), strings.Contains(text, "SSOProvider"):
		return fault.New(fault.Denied, "the SSO session of profile %q has expired, or there is none", cmp.Or(profile,
			"default")).
			Hint("%s", renew(profile))
	}
	answer, isAWS := errors.AsType[*Error](classify(err))
	switch {
	case isAWS && answer.Operation != "" && answer.Status != 0 && !strings.HasPrefix(answer.Operation, "ec2imds"):
		return explainAnswer(c, profile, answer)
	case strings.Contains(text, "ec2imds") || strings.Contains(text, "EC2 IMDS"):
		return noCredentials(profile)
	}
	if request, isNet := errors.AsType[*url.Error](err); isNet {
		return fault.New(fault.Unavailable, "AWS cannot be reached: %w", request).
			Hint("is the network up, and are HTTPS_PROXY and AWS_ENDPOINT_URL right?")
	}
	if program, isProgram := errors.AsType[*processcreds.ProviderError](err); isProgram {
		return fault.New(fault.Unavailable, "the credential_process of profile %q: %w", cmp.Or(profile, "default"),
			program.Err).
			Hint("run it in a shell: the profile in %s says which it is", sharedFiles()[1])
	}
	return fault.New(fault.Unavailable, "no AWS credentials to sign with: %w", err).
		Hint("aws sts get-caller-identity%s says what the AWS CLI makes of them", profileFlag(profile))
}

func profileFlag(profile string) string {
	if profile == "" {
		return ""
	}
	return " --profile " + fault.Quote(profile)
}

// renew is the command that ends the trouble with credentials that ended.
func renew(profile string) string {
	if profile == "" {
		return "log in again, or name a profile with --profile"
	}
	return "aws sso login" + profileFlag(profile)
}

// noCredentials names the places that were looked at, in the SDK's order.
func noCredentials(profile string) error {
	return fault.New(fault.NotFound,
		"no AWS credentials: looked in AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE, profile %q of %s, "+
			"AWS_CONTAINER_CREDENTIALS_FULL_URI, and the instance's metadata",
		cmp.Or(profile, "default"), strings.Join(sharedFiles(), " and ")).
		Hint("add --profile NAME; aws configure list-profiles shows those that there are")
}

func sharedFiles() []string {
	return []string{
		cmp.Or(os.Getenv("AWS_SHARED_CREDENTIALS_FILE"), config.DefaultSharedCredentialsFilename()),
		cmp.Or(os.Getenv("AWS_CONFIG_FILE"), config.DefaultSharedConfigFilename()),
	}
}

func explainAnswer(c LoginConfig, profile string, answer *Error) error {
	refused := fault.New(fault.Denied, "AWS refused: %w", answer)
	hasKeys := c.Profile == "" && os.Getenv("AWS_ACCESS_KEY_ID") != ""
	isRole := strings.HasSuffix(answer.Operation, "AssumeRole")
	switch {
	case strings.HasPrefix(answer.Operation, "SSO"):
		return refused.Hint("%s", renew(profile))
	case strings.HasPrefix(answer.Code, "ExpiredToken") && hasKeys:
		return refused.Hint(
			"the keys in AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN are expired: unset them, or use --profile",
		)
	case strings.HasPrefix(answer.Code, "ExpiredToken"):
		return refused.Hint("%s", renew(profile))
	case answer.Code == "InvalidClientTokenId" && hasKeys:
		return refused.Hint("AWS does not know the key in AWS_ACCESS_KEY_ID: unset it, or use --profile; " +
			"a region of another partition says the same")
	case answer.Code == "InvalidClientTokenId":
		return refused.Hint("AWS does not know this access key: was it deleted, or is the region of another partition?")
	case answer.Code == "SignatureDoesNotMatch":
		return refused.Hint("the secret key is wrong, or this clock is")
	case strings.Contains(answer.Message, "MultiFactorAuthentication"):
		return refused.Hint("wait for the next code of the device; one code is good for one session")
	case answer.Code == "AccessDenied" && isRole && c.MFASerial == "":
		return refused.Hint(
			"the role's trust policy must let the caller in, and the caller's policies allow sts:AssumeRole; " +
				"a trust that asks for MFA or an external id needs --mfa-serial or --external-id; " +
				"rolecall token --whoami without the role says who the caller is",
		)
	case answer.Code == "AccessDenied" && isRole:
		return refused.Hint(
			"the role's trust policy must let the caller in, and the caller's policies allow sts:AssumeRole",
		)
	case answer.Status == http.StatusTooManyRequests, strings.HasPrefix(answer.Code, "Throttl"):
		return fault.New(fault.Throttled, "AWS refused: %w", answer).Hint("try again in some seconds")
	case answer.Status >= http.StatusInternalServerError:
		return fault.New(fault.Unavailable, "AWS failed: %w", answer).Hint("try again in some seconds")
	}
	return refused.Hint("rolecall token --whoami with the same flags shows who AWS takes this for")
}
