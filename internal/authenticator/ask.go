package authenticator

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/identify"
)

// Ask asks STS about one token.
type Ask func(context.Context, *callerid.Presigned) (*callerid.Identity, error)

// Observed is an Ask of which every answer is counted and logged, but for who is in a
// scrubbed account.
func Observed(ask Ask, metrics *Metrics, scrubbed []string, log *slog.Logger) Ask {
	return func(ctx context.Context, p *callerid.Presigned) (*callerid.Identity, error) {
		who, err := ask(ctx, p)
		if fault.KindOf(err) == fault.Throttled {
			metrics.Throttled(p.Region)
		}
		if err == nil && !slices.Contains(scrubbed, who.AccountID) {
			log.LogAttrs(ctx, slog.LevelInfo, "STS response",
				slog.String("accesskeyid", who.AccessKeyID), slog.String("arn", who.ARN),
				slog.String("accountid", who.AccountID), slog.String("userid", who.UserID),
				slog.String("session", who.SessionName), slog.String("stsendpoint", who.STSEndpoint))
		}
		return who, err
	}
}

// What spec authenticator §4.5 and §6.5 say, and how many may wait for a place: API servers
// wait for half a minute.
const (
	askRate, askBurst = 20, 40
	asking            = 256
	waiting           = 2048
	kept              = 10000
	goodFor           = time.Minute
	badFor            = 30 * time.Second
)

// Limits are what an authenticator asks and keeps: it is asked by API servers only, for
// many people with a new token each quarter of an hour.
func Limits() identify.Limits {
	limits := identify.DefaultLimits()
	limits.GoodFor, limits.BadFor, limits.AgainFor = goodFor, badFor, 0
	limits.AskRate, limits.AskBurst = askRate, askBurst
	limits.Asking, limits.Waiting, limits.Accepted = asking, waiting, kept
	limits.Stale = true
	return limits
}
