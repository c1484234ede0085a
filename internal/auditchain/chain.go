// Package auditchain chains the lines of an audit, so that one that is changed,
// removed or moved later is noticed, and checks lines that were chained (spec
// podidentity §19.9).
//
// It does not know what a record says, and does no I/O of its own. It has no
// secret: anybody who may rewrite all lines after some place can chain them again,
// and lines that are missing at the end are not noticed. The last hash, kept
// elsewhere, reveals both.
package auditchain

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

// StartBytes is how long the random start of a chain is.
const StartBytes = 16

// Chain adds to each record what ties it to the one before. It is for one writer
// at a time.
type Chain struct {
	start, previous string // hexadecimal
	seq             uint64
}

// NewChain begins a chain. start must be random: it distinguishes this chain from
// those of other replicas and earlier processes.
func NewChain(start [StartBytes]byte) *Chain {
	text := hex.EncodeToString(start[:])
	return &Chain{start: text, previous: text}
}

// Seal returns a record with four more members at its end: chain, the start;
// seq, from 1; previous, the hash of the record before, for the first record
// the start; and hash. The record must be a JSON object with members, on one
// line. The hash is over the bytes of the line without it, so that the same
// JSON cannot be read in two ways.
func (c *Chain) Seal(record []byte) []byte {
	c.seq++
	text := append([]byte(nil), record[:len(record)-1]...)
	members := `,"chain":"` + c.start + `","seq":` + strconv.FormatUint(c.seq, 10) + `,"previous":"` + c.previous + `"}`
	text = append(text, members...)
	c.previous = hash(c.previous, text)
	return append(text[:len(text)-1], `,"hash":"`+c.previous+`"}`...)
}

// hash is SHA-256 over the previous hash as it is written, and a record.
func hash(previous string, record []byte) string {
	sum := sha256.New()
	sum.Write([]byte(previous))
	sum.Write(record)
	return hex.EncodeToString(sum.Sum(nil))
}
