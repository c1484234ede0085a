// Package token knows Kubernetes service-account tokens and the keys that sign
// them: key ids, JWKS and discovery documents, minting, decoding, verifying.
//
// It does not know who asks or why: it has no HTTP, files, clock or store of
// keys, and none of AWS's own rules (order of checks, tolerances, choice among
// ambiguous keys), which belong to the STS emulator.
package token
