package sigv4

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/rolecall/rolecall/internal/credential"
)

// The bodies that S3 accepts in chunks, as X-Amz-Content-Sha256 names them.
const (
	streaming        = "STREAMING-"
	signedChunks     = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	signedTrailer    = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	unsignedTrailer  = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	trailerSignature = "x-amz-trailer-signature"
)

// chunk is one piece of a body; the last one is empty.
type chunk struct{ data, signature []byte }

func malformedBody(code, message string) error { return refused(http.StatusBadRequest, code, message) }

// Chunks takes a body of chunks (aws-chunked) apart and verifies the chunks'
// signatures, if there are any. Other bodies are returned unchanged. s is nil
// for requests without a signature.
func (s *Signed) Chunks(
	r *http.Request,
	body []byte,
	secret credential.Secret,
) (content []byte, trailer http.Header, err error) {
	form := r.Header.Get(contentSHA256)
	if !strings.HasPrefix(form, streaming) {
		return body, nil, nil
	}
	if form != unsignedTrailer && (s == nil || (form != signedChunks && form != signedTrailer)) {
		return nil, nil, malformedBody("InvalidRequest", "The value of x-amz-content-sha256 is not supported.")
	}
	chunks, rest, ok := parseChunks(body)
	if !ok {
		return nil, nil, malformedBody("IncompleteBody", "The request body terminated unexpectedly")
	}
	for _, one := range chunks {
		content = append(content, one.data...)
	}
	if length := r.Header.Get("X-Amz-Decoded-Content-Length"); length != strconv.Itoa(len(content)) {
		return nil, nil, malformedBody(
			"IncompleteBody",
			"You did not provide the number of bytes specified by the x-amz-decoded-content-length HTTP header",
		)
	}
	trailer, canonical, ok := parseTrailer(rest, r.Header.Values("X-Amz-Trailer"))
	if !ok {
		return nil, nil, malformedBody(
			"MalformedTrailerError",
			"The request contained trailing data that was not well-formed or did not conform to our published schema.",
		)
	}
	if form != unsignedTrailer && !s.chunksMatch(chunks, form, canonical, trailer.Get(trailerSignature), secret) {
		return nil, nil, mismatch(noMatch)
	}
	trailer.Del(trailerSignature)
	return content, trailer, nil
}

// chunksMatch follows the chain: each signature covers the one before, the
// first one that of the headers.
func (s *Signed) chunksMatch(chunks []chunk, form, trailer, trailerSigned string, secret credential.Secret) bool {
	key, previous, empty := s.key(secret), s.signature, sha256.Sum256(nil)
	sign := func(kind string, hashes ...[sha256.Size]byte) string {
		lines := []string{kind, s.time, s.scopeText(), previous}
		for _, hash := range hashes {
			lines = append(lines, hex.EncodeToString(hash[:]))
		}
		return hex.EncodeToString(mac(key, strings.Join(lines, "\n")))
	}
	for _, one := range chunks {
		want := sign(algorithm+"-PAYLOAD", empty, sha256.Sum256(one.data))
		if subtle.ConstantTimeCompare([]byte(want), one.signature) != 1 {
			return false
		}
		previous = want
	}
	if form == signedChunks {
		return trailer == ""
	}
	want := sign(algorithm+"-TRAILER", sha256.Sum256([]byte(trailer)))
	return subtle.ConstantTimeCompare([]byte(want), []byte(trailerSigned)) == 1
}

// parseChunks reads SIZE[;chunk-signature=HEX]CRLF DATA CRLF until the chunk of
// size 0, and returns what follows that chunk's first line.
func parseChunks(body []byte) (chunks []chunk, rest []byte, ok bool) {
	for {
		line, after, found := bytes.Cut(body, []byte("\r\n"))
		if !found {
			return nil, nil, false
		}
		text, extension, _ := bytes.Cut(line, []byte(";"))
		size, err := strconv.ParseUint(string(text), 16, 31)
		if err != nil || len(text) > 8 {
			return nil, nil, false
		}
		signature, _ := bytes.CutPrefix(extension, []byte("chunk-signature="))
		if size == 0 {
			return append(chunks, chunk{nil, signature}), after, true
		}
		if uint64(len(after)) < size+2 || string(after[size:size+2]) != "\r\n" {
			return nil, nil, false
		}
		chunks = append(chunks, chunk{after[:size], signature})
		body = after[size+2:]
	}
}

// parseTrailer reads the headers after the last chunk. Only those that were
// announced may occur. canonical is their signed form.
func parseTrailer(text []byte, announced []string) (trailer http.Header, canonical string, ok bool) {
	trailer = http.Header{}
	var names []string
	for _, list := range announced {
		for name := range strings.SplitSeq(list, ",") {
			names = append(names, strings.ToLower(strings.TrimSpace(name)))
		}
	}
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			continue
		}
		name, value, found := strings.Cut(string(line), ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if !found || (name != trailerSignature && !slices.Contains(names, name)) || trailer.Get(name) != "" {
			return nil, "", false
		}
		trailer.Set(name, value)
		if name != trailerSignature {
			canonical += name + ":" + value + "\n"
		}
	}
	return trailer, canonical, true
}
