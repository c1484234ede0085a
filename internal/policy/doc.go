// Package policy answers one question: does this set of IAM policies allow this
// request, and if not, why. Its stages are files: node.go and decode.go read a
// document strictly, pattern.go, condition.go and principal.go hold its compiled
// form, decide.go reads like AWS's evaluation logic, explain.go says why.
//
// It knows nothing of HTTP, the AWS SDK, Kubernetes or the clock: whatever a
// decision depends on is in the request. Answers are deterministic.
package policy
