package s3

import (
	"crypto/md5"  // what ETags are made of
	"crypto/sha1" // what clients may send
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"net/http"
	"strings"
	"sync"
)

// defaultAlgorithm is that of objects whose clients send no checksum.
const defaultAlgorithm = "CRC64NVME"

// Tables are made at first use: every command would pay for them otherwise.
var (
	castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })
	nvme       = sync.OnceValue(func() *crc64.Table { return crc64.MakeTable(0x9a6c9329ac4bc9b5) })
)

var algorithms = map[string]func() hash.Hash{
	"CRC32":     func() hash.Hash { return crc32.NewIEEE() },
	"CRC32C":    func() hash.Hash { return crc32.New(castagnoli()) },
	"CRC64NVME": func() hash.Hash { return crc64.New(nvme()) },
	"SHA1":      sha1.New,
	"SHA256":    sha256.New,
	"SHA512":    sha512.New,
	"MD5":       md5.New,
}

func checksumHeader(algorithm string) string {
	return http.CanonicalHeaderKey("X-Amz-Checksum-" + algorithm)
}

func sum(algorithm string, body []byte) string {
	h := algorithms[algorithm]()
	_, _ = h.Write(body) // never fails, says its documentation
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func etag(body []byte) string {
	digest := md5.Sum(body)
	return hex.EncodeToString(digest[:])
}

// checkBody compares the body with what its headers and trailer say about it,
// and returns its checksum, by the fallback's algorithm if the client sent
// none.
func (c *call) checkBody(fallback string) (Checksum, error) {
	if given := c.header("Content-Md5"); given != "" {
		digest, err := base64.StdEncoding.DecodeString(given)
		want := md5.Sum(c.Body)
		switch {
		case err != nil || len(digest) != len(want):
			return Checksum{}, badRequest("InvalidDigest", "The Content-MD5 you specified was invalid.")
		case subtle.ConstantTimeCompare(digest, want[:]) != 1:
			return Checksum{}, badRequest("BadDigest", "The Content-MD5 you specified did not match what we received.")
		}
	}
	found := Checksum{}
	for name := range c.HTTP.Header {
		if algorithm, found := strings.CutPrefix(name, "X-Amz-Checksum-"); found &&
			strings.HasPrefix(algorithm, "Xxhash") {
			return Checksum{}, refuse(
				http.StatusNotImplemented, "NotImplemented",
				"allowed, but not emulated: the checksum algorithm "+algorithm,
			)
		}
	}
	for algorithm := range algorithms {
		given := c.header(checksumHeader(algorithm))
		if given == "" {
			given = c.HTTP.Trailer.Get(checksumHeader(algorithm))
		}
		if given == "" {
			continue
		}
		if found.Algorithm != "" {
			return Checksum{}, badRequest(
				"InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
			)
		}
		found = Checksum{Algorithm: algorithm, Value: given}
		digest, err := base64.StdEncoding.DecodeString(given)
		switch {
		case err != nil || len(digest) != algorithms[algorithm]().Size():
			return Checksum{}, badRequest(
				"InvalidRequest", "Value for "+strings.ToLower(checksumHeader(algorithm))+" header is invalid.",
			)
		case given != sum(algorithm, c.Body):
			return Checksum{}, badRequest(
				"BadDigest", "The "+algorithm+" you specified did not match the calculated checksum.",
			)
		}
	}
	if announced := c.header("X-Amz-Trailer"); found.Algorithm == "" &&
		strings.Contains(strings.ToLower(announced), "x-amz-checksum-") {
		return Checksum{}, badRequest(
			"MalformedTrailerError",
			"The request contained trailing data that was not well-formed or did not conform to our published schema.",
		)
	}
	if found.Algorithm == "" && fallback != "" {
		found = Checksum{Algorithm: fallback, Value: sum(fallback, c.Body)}
	}
	return found, nil
}

// showChecksum sets the headers that return a checksum.
func showChecksum(h http.Header, found Checksum) {
	if found.Value == "" {
		return
	}
	h.Set(checksumHeader(found.Algorithm), found.Value)
	h.Set("X-Amz-Checksum-Type", checksumType(found))
}

func checksumType(found Checksum) string {
	if found.Composite {
		return "COMPOSITE"
	}
	return "FULL_OBJECT"
}
