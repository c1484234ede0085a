package s3

import (
	"net/http"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// expectOwner refuses a call that names another owner of the bucket than it has, whatever
// policies allow: its caller does not want it to reach the bucket of somebody else.
func (c *call) expectOwner() error {
	expected := c.header("X-Amz-Expected-Bucket-Owner")
	switch {
	case expected == "" || c.bucket == nil:
		return nil
	case !arn.IsAccount(expected):
		return badRequest("InvalidBucketOwnerAWSAccountID",
			"The value of the expected bucket owner parameter must be an AWS account ID... ["+expected+"]")
	case expected != c.bucket.Account:
		return wire.Errorf(http.StatusForbidden, "AccessDenied", "Access Denied").Because(
			"the call expects account %s to own bucket %s, and %s does", expected, c.name, c.bucket.Account)
	}
	return nil
}
