package s3

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"

	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// maxXML is the largest body that is a document: that of a thousand deletions.
const maxXML = 2 << 20

// parseXML reads one document; what stands in it beside what is known is left.
func parseXML(body []byte, into any) error {
	if len(body) > maxXML {
		return malformedXML()
	}
	decoder := xml.NewDecoder(bytes.NewReader(body))
	if err := decoder.Decode(into); err != nil {
		return malformedXML()
	}
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		_, isElement := token.(xml.StartElement)
		if err != nil || isElement {
			return malformedXML()
		}
	}
}

// done is the answer of what leaves nothing to say.
func done() *wire.Raw { return &wire.Raw{Status: http.StatusNoContent} }
