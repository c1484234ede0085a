package s3

import (
	"net/http"

	"github.com/rolecall/rolecall/internal/localaws/wire"
)

func refuse(status int, code, message string) error {
	return wire.Errorf(status, code, "%s", message)
}

func badRequest(code, message string) error { return refuse(http.StatusBadRequest, code, message) }

func noSuchBucket() error {
	return refuse(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
}

func noSuchKey() error {
	return refuse(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
}

func noSuchUpload() error {
	return refuse(
		http.StatusNotFound, "NoSuchUpload",
		"The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "+
			"completed.",
	)
}

func malformedXML() error {
	return badRequest(
		"MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema",
	)
}

func invalidArgument(message string) error { return badRequest("InvalidArgument", message) }

func preconditionFailed() error {
	return refuse(
		http.StatusPreconditionFailed, "PreconditionFailed",
		"At least one of the pre-conditions you specified did not hold",
	)
}

func noACLs() error {
	return badRequest("AccessControlListNotSupported", "The bucket does not allow ACLs")
}

func tooLarge() error {
	return badRequest("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
}
