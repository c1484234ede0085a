// Package token knows Kubernetes service-account tokens and the keys that sign
// them: key ids, JWKS and discovery documents, minting, decoding, verifying.
//
// It does not know who asks or why: no HTTP, no files, no clock, no store of
// keys, and none of the rules that are AWS's own (order of checks, tolerances,
// choice among ambiguous keys), which are the STS emulator's.
package token
