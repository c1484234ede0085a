// Package policy answers one question: does this set of IAM policies allow this
// request, and if not, why. Its stages are files:
//
//   - node.go, characters.go and decode.go read a document strictly, with the
//     elements in action.go, resource.go, principal.go, condition.go, issuers.go
//     and control.go; wording.go holds what AWS answers, and in which order
//   - pattern.go, values.go and folding.go compare
//   - request.go and decide.go decide; decide.go reads like AWS's evaluation
//     logic, taking.go adds what assuming a role needs
//   - explain*.go, nearmiss.go, partly.go, assumptions.go and summary.go say why
//   - lint*.go find what AWS accepts silently; format.go prints
//
// It knows nothing about HTTP, the AWS SDK, Kubernetes or the clock: everything a decision
// depends on is in the request. Answers are deterministic. The rules are those of spec
// iam-policy; its open points (spec iam-policy §11) are in the file of their subject.
package policy
