package tokencmd

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/filelock"
	"github.com/rolecall/rolecall/internal/tokencache"
)

const (
	// tokenMargin is how much of its life a token must have left to be given out again,
	// and sessionMargin how much a session must have to sign one.
	tokenMargin   = time.Minute
	sessionMargin = 5 * time.Minute
	// lockPatience is how long another process may take to make the same token, and
	// lockPause how often it is looked whether it has.
	lockPatience = 5 * time.Second
	lockPause    = 20 * time.Millisecond
)

// kept are the token and the sessions of earlier calls. Whatever is wrong with them is one
// warning: the token is made anyway.
type kept struct {
	sys    cli.System
	cache  *tokencache.Cache // nil if nothing is kept
	names  names
	warned bool
}

// names are what entries are called: each has everything in it that makes them somebody's.
type names struct {
	// Inputs is the sum of awsapi.LoginInputs.
	Inputs                             [sha256.Size]byte
	Region, Cluster                    string
	Roles                              []string
	SessionName, ExternalID, MFASerial string
}

// format changes when the meaning of an entry does.
const format = "rolecall token 1"

func sum(kind string, of any) tokencache.Key {
	text, err := json.Marshal([]any{format, kind, of})
	if err != nil {
		panic(err) // texts and numbers
	}
	return sha256.Sum256(text)
}

func (n names) token() tokencache.Key { return sum("token", n) }

// base is that of the environment's own credentials, for all clusters and roles. Its
// region counts as far as it is another AWS.
func (n names) base() tokencache.Key {
	return sum("base", names{Inputs: n.Inputs, Region: arn.PartitionOf(n.Region)})
}

func (n names) session(step awsapi.LoginStep) tokencache.Key {
	if len(step.Roles) == 0 {
		return n.base()
	}
	n.Region, n.Cluster, n.Roles = arn.PartitionOf(n.Region), "", step.Roles
	return sum("session "+step.AccessKeyID, n)
}

// cacheDir is where kubectl keeps such things; empty if there is no home.
func cacheDir(sys cli.System) string {
	if file := sys.Getenv("AWS_IAM_AUTHENTICATOR_CACHE_FILE"); file != "" {
		return file + "." + cli.Name
	}
	if dir := sys.Getenv("KUBECACHEDIR"); dir != "" {
		return filepath.Join(dir, cli.Name)
	}
	home := cmp.Or(sys.Getenv("HOME"), sys.Getenv("USERPROFILE"))
	if home == "" {
		return ""
	}
	return filepath.Join(home, ".kube", "cache", cli.Name)
}

func newKept(sys cli.System, c *command, cluster string) *kept {
	k := &kept{sys: sys}
	dir := cacheDir(sys)
	if !c.isCached || dir == "" {
		return k
	}
	k.cache = tokencache.New(dir, sys.Now)
	k.names = names{
		Inputs:  awsapi.LoginInputs(c.profile),
		Region:  cmp.Or(c.region, sys.Getenv("AWS_REGION"), sys.Getenv("AWS_DEFAULT_REGION")),
		Cluster: cluster, Roles: c.roles, SessionName: c.sessionName, ExternalID: c.externalID, MFASerial: c.mfaSerial,
	}
	return k
}

func (k *kept) trouble(err error) {
	if err != nil && !k.warned {
		k.warned = true
		fmt.Fprintf(k.sys.Stderr, "warning: kept tokens are not used: %v (--cache=false looks for none)\n", err)
	}
}

// lock waits a while for another process that makes the same.
func (k *kept) lock(ctx context.Context) (release func()) {
	if k.cache == nil {
		return func() {}
	}
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		lock, err := k.cache.TryLock(k.names.base())
		switch {
		case err == nil:
			return func() { _ = lock.Release() }
		case !errors.Is(err, filelock.ErrHeld):
			k.trouble(err)
			return func() {}
		}
		select {
		case <-ctx.Done():
			k.trouble(fmt.Errorf("another process has held their lock for %s", lockPatience))
			return func() {}
		case <-time.After(lockPause):
		}
	}
}

// keptToken and keptSession are entries. Those are files with secrets in them.
type keptToken struct {
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
}

type keptSession struct {
	AccessKeyID  string    `json:"accessKeyId"`
	SecretKey    string    `json:"secretAccessKey"`
	SessionToken string    `json:"sessionToken"`
	Expires      time.Time `json:"expires"`
}

func (k *kept) token() (madeToken, bool) {
	if k.cache == nil {
		return madeToken{}, false
	}
	var found keptToken
	known, err := k.cache.Get(k.names.token(), &found)
	k.trouble(err)
	now := k.sys.Now()
	isGood := found.Token != "" && found.Expires.After(now.Add(tokenMargin)) &&
		!found.Expires.After(now.Add(callerid.Advertised)) // of the future, after the clock was set
	if !known || !isGood {
		return madeToken{}, false
	}
	return madeToken{credential.NewSecret(found.Token), found.Expires}, true
}

func (k *kept) keepToken(made madeToken) {
	if k.cache != nil {
		k.trouble(k.cache.Put(k.names.token(), made.until.Add(-tokenMargin), keptToken{made.Reveal(), made.until}))
	}
}

func (k *kept) session(step awsapi.LoginStep) (credential.AWS, bool) {
	if k.cache == nil {
		return credential.AWS{}, false
	}
	var found keptSession
	known, err := k.cache.Get(k.names.session(step), &found)
	k.trouble(err)
	if !known || found.AccessKeyID == "" || found.SessionToken == "" ||
		!found.Expires.After(k.sys.Now().Add(tokenMargin)) {
		return credential.AWS{}, false
	}
	return credential.AWS{
		AccessKeyID: found.AccessKeyID, SecretKey: credential.NewSecret(found.SecretKey),
		SessionToken: credential.NewSecret(found.SessionToken), Expires: found.Expires,
	}, true
}

func (k *kept) keepSession(step awsapi.LoginStep, own credential.AWS) {
	if k.cache == nil || own.SessionToken.IsZero() {
		return
	}
	k.trouble(k.cache.Put(k.names.session(step), own.Expires.Add(-sessionMargin), keptSession{
		own.AccessKeyID, own.SecretKey.Reveal(), own.SessionToken.Reveal(), own.Expires,
	}))
}
