package s3

import (
	"net/http"
	"net/url"

	"github.com/rolecall/rolecall/internal/localaws/service"
)

// routes name operations by method, target, and the parameter that selects a
// part of it. Those that are not emulated have the names of their IAM actions,
// since these decide them.
var routes = map[string]string{
	"GET service": "ListBuckets",

	"PUT bucket":    "CreateBucket",
	"HEAD bucket":   "HeadBucket",
	"DELETE bucket": "DeleteBucket",
	"GET bucket":    "ListObjects",

	"GET bucket list-type":              "ListObjectsV2",
	"POST bucket delete":                "DeleteObjects",
	"GET bucket location":               "GetBucketLocation",
	"GET bucket uploads":                "ListMultipartUploads",
	"GET bucket versioning":             "GetBucketVersioning",
	"PUT bucket versioning":             "PutBucketVersioning",
	"GET bucket versions":               "ListBucketVersions",
	"GET bucket policy":                 "GetBucketPolicy",
	"PUT bucket policy":                 "PutBucketPolicy",
	"DELETE bucket policy":              "DeleteBucketPolicy",
	"GET bucket policyStatus":           "GetBucketPolicyStatus",
	"GET bucket acl":                    "GetBucketAcl",
	"PUT bucket acl":                    "PutBucketAcl",
	"GET bucket publicAccessBlock":      "GetPublicAccessBlock",
	"PUT bucket publicAccessBlock":      "PutPublicAccessBlock",
	"DELETE bucket publicAccessBlock":   "DeletePublicAccessBlock",
	"GET bucket ownershipControls":      "GetBucketOwnershipControls",
	"PUT bucket ownershipControls":      "PutBucketOwnershipControls",
	"DELETE bucket ownershipControls":   "DeleteBucketOwnershipControls",
	"GET bucket tagging":                "GetBucketTagging",
	"PUT bucket tagging":                "PutBucketTagging",
	"DELETE bucket tagging":             "DeleteBucketTagging",
	"GET bucket encryption":             "GetEncryptionConfiguration",
	"PUT bucket encryption":             "PutEncryptionConfiguration",
	"DELETE bucket encryption":          "PutEncryptionConfiguration",
	"GET bucket lifecycle":              "GetLifecycleConfiguration",
	"PUT bucket lifecycle":              "PutLifecycleConfiguration",
	"DELETE bucket lifecycle":           "PutLifecycleConfiguration",
	"GET bucket cors":                   "GetBucketCORS",
	"PUT bucket cors":                   "PutBucketCORS",
	"DELETE bucket cors":                "PutBucketCORS",
	"GET bucket website":                "GetBucketWebsite",
	"PUT bucket website":                "PutBucketWebsite",
	"DELETE bucket website":             "DeleteBucketWebsite",
	"GET bucket logging":                "GetBucketLogging",
	"PUT bucket logging":                "PutBucketLogging",
	"GET bucket notification":           "GetBucketNotification",
	"PUT bucket notification":           "PutBucketNotification",
	"GET bucket replication":            "GetReplicationConfiguration",
	"PUT bucket replication":            "PutReplicationConfiguration",
	"DELETE bucket replication":         "PutReplicationConfiguration",
	"GET bucket requestPayment":         "GetBucketRequestPayment",
	"PUT bucket requestPayment":         "PutBucketRequestPayment",
	"GET bucket accelerate":             "GetAccelerateConfiguration",
	"PUT bucket accelerate":             "PutAccelerateConfiguration",
	"GET bucket object-lock":            "GetBucketObjectLockConfiguration",
	"PUT bucket object-lock":            "PutBucketObjectLockConfiguration",
	"GET bucket inventory":              "GetInventoryConfiguration",
	"PUT bucket inventory":              "PutInventoryConfiguration",
	"DELETE bucket inventory":           "PutInventoryConfiguration",
	"GET bucket metrics":                "GetMetricsConfiguration",
	"PUT bucket metrics":                "PutMetricsConfiguration",
	"DELETE bucket metrics":             "PutMetricsConfiguration",
	"GET bucket analytics":              "GetAnalyticsConfiguration",
	"PUT bucket analytics":              "PutAnalyticsConfiguration",
	"DELETE bucket analytics":           "PutAnalyticsConfiguration",
	"GET bucket intelligent-tiering":    "GetIntelligentTieringConfiguration",
	"PUT bucket intelligent-tiering":    "PutIntelligentTieringConfiguration",
	"DELETE bucket intelligent-tiering": "PutIntelligentTieringConfiguration",
	"GET bucket session":                "CreateSession",
	"POST bucket":                       "PutObject form", // a browser's upload

	"GET object":    "GetObject",
	"HEAD object":   "HeadObject",
	"PUT object":    "PutObject",
	"DELETE object": "DeleteObject",

	"GET object acl":         "GetObjectAcl",
	"PUT object acl":         "PutObjectAcl",
	"GET object tagging":     "GetObjectTagging",
	"PUT object tagging":     "PutObjectTagging",
	"DELETE object tagging":  "DeleteObjectTagging",
	"GET object attributes":  "GetObjectAttributes",
	"GET object legal-hold":  "GetObjectLegalHold",
	"PUT object legal-hold":  "PutObjectLegalHold",
	"GET object retention":   "GetObjectRetention",
	"PUT object retention":   "PutObjectRetention",
	"GET object torrent":     "GetObjectTorrent",
	"POST object restore":    "RestoreObject",
	"POST object select":     "SelectObjectContent",
	"POST object uploads":    "CreateMultipartUpload",
	"PUT object uploadId":    "UploadPart",
	"POST object uploadId":   "CompleteMultipartUpload",
	"DELETE object uploadId": "AbortMultipartUpload",
	"GET object uploadId":    "ListParts",
}

// markers are the parameters that select routes.
var markers = []string{
	"list-type", "delete", "location", "uploads", "versioning", "versions", "policy", "policyStatus", "acl",
	"publicAccessBlock", "ownershipControls", "tagging",
	"encryption", "lifecycle", "cors", "website", "logging", "notification", "replication", "requestPayment",
	"accelerate", "object-lock", "inventory", "metrics",
	"analytics", "intelligent-tiering", "session", "attributes", "legal-hold", "retention", "torrent", "restore",
	"select", "uploadId",
}

// route names the operation of a call, empty if there is none.
func route(q *service.Call) string {
	bucket, key, err := resource(q)
	if err != nil {
		return "GetObject" // which says what is wrong
	}
	name := q.HTTP.Method + " service"
	switch {
	case key != "":
		name = q.HTTP.Method + " object"
	case bucket != "":
		name = q.HTTP.Method + " bucket"
	}
	if selected := marker(q.HTTP.URL.Query()); selected != "" {
		name += " " + selected
	}
	operation := routes[name]
	if q.HTTP.Method == http.MethodPut && q.HTTP.Header.Get("X-Amz-Copy-Source") != "" {
		switch operation {
		case "PutObject":
			return "CopyObject"
		case "UploadPart":
			return "UploadPartCopy"
		}
	}
	return operation
}

// marker is the parameter that selects a route, empty if there is none.
func marker(query url.Values) string {
	for _, name := range markers {
		if query.Has(name) {
			return name
		}
	}
	return ""
}
