package awsapi

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/rolecall/rolecall/internal/build"
)

// A peer that hangs keeps its connections: the kernel goes on acknowledging what is
// sent. Over HTTP/2 all requests share one, so that none would get an answer until the
// connection is given up. After pingAfter without a frame the peer is asked for a sign of
// life, which does not depend on how long a request takes there; without one within
// pingTimeout, the connection is closed and the next request makes another.
const (
	pingAfter   = time.Second
	pingTimeout = 1500 * time.Millisecond
	// brokerHandshake is for the next one, which may reach the same peer; AWS is further away.
	brokerHandshake, awsHandshake = time.Second, 3 * time.Second
)

// noticesDead makes a transport give up connections to peers that hang.
func noticesDead(t *http.Transport, handshake time.Duration) {
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout}
	t.TLSHandshakeTimeout = handshake
}

// saysWho are the options of all clients of the SDK: our name and version come before the
// SDK's own, and what is sent is only read.
var saysWho = []func(*middleware.Stack) error{onlyRead, func(stack *middleware.Stack) error {
	return stack.Build.Add(middleware.BuildMiddlewareFunc("RolecallUserAgent", func(
		ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler,
	) (middleware.BuildOutput, middleware.Metadata, error) {
		if request, ok := in.Request.(*smithyhttp.Request); ok {
			says := build.UserAgent()
			if sdk := request.Header.Get(userAgent); sdk != "" {
				says += " " + sdk
			}
			request.Header.Set(userAgent, says)
		}
		return next.HandleBuild(ctx, in)
	}), middleware.After)
}}

const userAgent = "User-Agent"

// onlyRead hides that what is sent can write itself. The SDK closes it when an answer begins;
// then a body that writes itself fails where one that is read is at its end, and the transport
// would close the connection before the rest of the answer is there: of a server nearby, each
// fifth answer that is longer than a packet.
func onlyRead(stack *middleware.Stack) error {
	return stack.Build.Add(middleware.BuildMiddlewareFunc("RolecallOnlyRead", func(
		ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler,
	) (middleware.BuildOutput, middleware.Metadata, error) {
		if request, ok := in.Request.(*smithyhttp.Request); ok {
			if body, ok := request.GetStream().(io.ReadSeeker); ok {
				changed, err := request.SetStream(struct{ io.ReadSeeker }{body})
				if err != nil {
					return middleware.BuildOutput{}, middleware.Metadata{}, err
				}
				in.Request = changed
			}
		}
		return next.HandleBuild(ctx, in)
	}), middleware.After)
}
