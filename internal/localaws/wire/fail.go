package wire

import (
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"maps"
	"math"
	"net/http"
	"slices"
)

// words are the code and status of a refusal that every service knows, as a
// protocol expresses it. A zero status means that of the Query protocol.
type words struct {
	code   string
	status int
	// message replaces the one of the Query protocol, if not empty.
	message string
}

// common translates the codes of the Query protocol (spec issuer-and-sts §12.4)
// for the other protocols. A code that is not here is the service's own and
// stays as it is.
var common = map[string]struct{ json, s3, ec2 words }{
	"AccessDenied": {
		json: words{"AccessDeniedException", 400, ""},
		s3:   words{},
		ec2:  words{"UnauthorizedOperation", 0, ""},
	},
	"MissingAuthenticationToken": {
		json: words{"MissingAuthenticationTokenException", 400, ""},
		s3:   words{"AccessDenied", 0, "Access Denied"},
		ec2:  words{"MissingParameter", 400, ""},
	},
	"InvalidClientTokenId": {
		json: words{"UnrecognizedClientException", 400, ""},
		s3:   words{"InvalidAccessKeyId", 0, "The AWS Access Key Id you provided does not exist in our records."},
		ec2:  words{"AuthFailure", 401, ""},
	},
	"SignatureDoesNotMatch": {words{"InvalidSignatureException", 400, ""}, words{}, words{"AuthFailure", 401, ""}},
	"IncompleteSignature": {
		json: words{"IncompleteSignatureException", 400, ""},
		s3:   words{"AuthorizationHeaderMalformed", 400, ""},
		ec2:  words{"AuthFailure", 401, ""},
	},
	"ExpiredToken": {
		json: words{"ExpiredTokenException", 400, ""},
		s3:   words{"ExpiredToken", 400, "The provided token has expired."},
		ec2:  words{"RequestExpired", 400, ""},
	},
	"Throttling": {
		json: words{"ThrottlingException", 400, ""},
		s3:   words{"SlowDown", 503, ""},
		ec2:  words{"RequestLimitExceeded", 503, ""},
	},
	"InternalFailure": {
		json: words{"InternalServerException", 0, ""},
		s3:   words{"InternalError", 0, ""},
		ec2:  words{"InternalError", 0, ""},
	},
	"ServiceUnavailable": {words{"ServiceUnavailableException", 0, ""}, words{}, words{"Unavailable", 0, ""}},
	"InvalidAction": {
		json: words{"UnknownOperationException", 400, ""},
		s3:   words{"MethodNotAllowed", 405, ""},
		ec2:  words{},
	},
	"RequestEntityTooLarge": {
		json: words{"RequestEntityTooLargeException", 0, ""},
		s3:   words{"EntityTooLarge", 400, ""},
		ec2:  words{},
	},
	"NotImplemented": {words{"NotImplementedException", 0, ""}, words{}, words{}},
}

// Translate returns an error of the Query protocol in the words of another.
func (p Protocol) Translate(e *Error) *Error {
	row, found := common[e.Code]
	if !found || p == AWSQuery || p == RESTXML {
		return e
	}
	said := row.json
	switch p {
	case S3:
		said = row.s3
	case EC2:
		said = row.ec2
	case AWSQuery, RESTXML, RESTJSON, JSON10, JSON11, CBOR:
	}
	translated := *e
	if said.code != "" {
		translated.Code = said.code
	}
	if said.message != "" {
		translated.Message = said.message
	}
	if said.status != 0 {
		translated.Status = said.status
	}
	// REST services answer refusals with 403, the JSON protocols with 400.
	if p == RESTJSON && e.Status == http.StatusForbidden {
		translated.Status = e.Status
	}
	return &translated
}

type errorBody struct {
	Type, Code, Message string
}

// Fail writes an error.
func (a *Answer) Fail(e *Error) error {
	e = a.Protocol.Translate(e)
	switch a.Protocol {
	case RESTJSON:
		a.Writer.Header().Set("X-Amzn-Errortype", e.Code)
		body := map[string]string{"message": e.Message}
		maps.Copy(body, e.Members)
		return a.writeJSON(e.Status, "application/json", body)
	case JSON10:
		return a.writeJSON(e.Status, "application/x-amz-json-1.0", jsonError{
			"com.amazon.coral.service#" + e.Code,
			e.Message,
		})
	case JSON11:
		return a.writeJSON(e.Status, "application/x-amz-json-1.1", jsonError{e.Code, e.Message})
	case CBOR:
		a.Writer.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
		return a.write(e.Status, "application/cbor", func(w http.ResponseWriter) error {
			_, err := w.Write(cborTexts("__type", "com.amazon.coral.service#"+e.Code, "message", e.Message))
			return err
		})
	case S3:
		return a.write(e.Status, "application/xml", func(w http.ResponseWriter) error {
			return encodeXML(w, struct {
				XMLName           xml.Name `xml:"Error"`
				Code, Message     string
				Members           []member
				RequestId, HostId string
			}{Code: e.Code, Message: e.Message, Members: membersOf(e), RequestId: a.RequestID, HostId: "rolecall"})
		})
	case EC2:
		return a.write(e.Status, "text/xml", func(w http.ResponseWriter) error {
			return encodeXML(w, struct {
				XMLName   xml.Name `xml:"Response"`
				Errors    ec2Error `xml:"Errors>Error"`
				RequestID string
			}{Errors: ec2Error{e.Code, e.Message}, RequestID: a.RequestID})
		})
	case AWSQuery, RESTXML:
	}
	return a.failQuery(e)
}

// member is a further element of an error.
type member struct {
	XMLName xml.Name
	Text    string `xml:",chardata"`
}

func membersOf(e *Error) []member {
	var members []member
	for _, name := range slices.Sorted(maps.Keys(e.Members)) {
		members = append(members, member{xml.Name{Local: name}, e.Members[name]})
	}
	return members
}

// cborTexts encodes a map of strings, given as alternating keys and values (RFC
// 8949).
func cborTexts(texts ...string) []byte {
	const mapOf, textOf16 = 0xa0, 0x79
	out := []byte{mapOf | byte(len(texts)/2)}
	for _, text := range texts {
		text = text[:min(len(text), math.MaxUint16)]
		out = append(out, textOf16)
		out = binary.BigEndian.AppendUint16(out, uint16(len(text)))
		out = append(out, text...)
	}
	return out
}

type ec2Error struct{ Code, Message string }

type jsonError struct {
	Type    string `json:"__type"`
	Message string `json:"message"`
}

func (a *Answer) failQuery(e *Error) error {
	body := errorBody{"Sender", e.Code, e.Message}
	if e.Status >= http.StatusInternalServerError {
		body.Type = "Receiver"
	}
	if a.JSON {
		return a.write(e.Status, "application/json", func(w http.ResponseWriter) error {
			return json.NewEncoder(w).Encode(map[string]any{"Error": body, "RequestId": a.RequestID})
		})
	}
	namespace := a.Namespace
	if namespace == "" || e.Code == "InvalidAction" {
		namespace = faultNamespace
	}
	return a.write(e.Status, "text/xml", func(w http.ResponseWriter) error {
		return xml.NewEncoder(w).Encode(struct {
			XMLName   xml.Name  `xml:"ErrorResponse"`
			Namespace string    `xml:"xmlns,attr"`
			Error     errorBody `xml:"Error"`
			RequestID string    `xml:"RequestId"`
		}{Namespace: namespace, Error: body, RequestID: a.RequestID})
	})
}
