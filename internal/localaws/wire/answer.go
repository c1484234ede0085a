package wire

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"maps"
	"net/http"
)

// Protocol is how a service's requests and answers look.
type Protocol int

// The protocols. AWSQuery is the zero value, since calls that belong to no
// service are answered in it.
const (
	AWSQuery Protocol = iota // parameters in, XML out: IAM, STS, SNS, …
	EC2                      // Query with an envelope of its own
	RESTXML                  // paths and methods in, XML out, errors as in Query: Route 53, CloudFront
	S3                       // RESTXML with an envelope of its own
	RESTJSON                 // paths and methods in, JSON out: EKS, Lambda, …
	JSON10                   // X-Amz-Target, application/x-amz-json-1.0: DynamoDB, SQS
	JSON11                   // X-Amz-Target, application/x-amz-json-1.1: SSM, ECR, …
	CBOR                     // /service/NAME/operation/NAME, application/cbor: CloudWatch; errors only
)

// Answer writes the answer of one request.
type Answer struct {
	Writer    http.ResponseWriter
	Protocol  Protocol
	RequestID string
	Namespace string // of the service's XML
	// JSON says that a Query caller wants JSON.
	JSON bool
	// Head says that the caller wants no body.
	Head bool
}

// faultNamespace is the namespace of errors that belong to no service.
const faultNamespace = "http://webservices.amazon.com/AWSFault/2005-15-09"

// Raw is an answer that its operation writes itself, such as an object of S3.
type Raw struct {
	Status int // 200 if zero
	Header http.Header
	Body   []byte
}

// OK writes the result of an operation; a nil result is an operation without
// one.
func (a *Answer) OK(operation string, result any) error {
	if raw, ok := result.(*Raw); ok {
		return a.writeRaw(raw)
	}
	switch a.Protocol {
	case RESTJSON:
		return a.writeJSON(http.StatusOK, "application/json", orEmpty(result))
	case JSON10:
		return a.writeJSON(http.StatusOK, "application/x-amz-json-1.0", orEmpty(result))
	case JSON11:
		return a.writeJSON(http.StatusOK, "application/x-amz-json-1.1", orEmpty(result))
	case RESTXML, S3:
		return a.write(http.StatusOK, "application/xml", func(w http.ResponseWriter) error {
			if result == nil {
				return nil
			}
			return encodeXML(w, result)
		})
	case AWSQuery, EC2, CBOR:
	}
	if a.JSON {
		body := map[string]any{"ResponseMetadata": map[string]string{"RequestId": a.RequestID}}
		body[operation+"Result"] = result
		return a.writeJSON(http.StatusOK, "application/json", map[string]any{operation + "Response": body})
	}
	return a.write(http.StatusOK, "text/xml", func(w http.ResponseWriter) error {
		return a.queryResult(w, operation, result)
	})
}

func (a *Answer) writeRaw(raw *Raw) error {
	maps.Copy(a.Writer.Header(), raw.Header)
	status := cmp.Or(raw.Status, http.StatusOK)
	return a.write(status, raw.Header.Get("Content-Type"), func(w http.ResponseWriter) error {
		_, err := w.Write(raw.Body)
		return err
	})
}

func orEmpty(result any) any {
	if result == nil {
		return struct{}{}
	}
	return result
}

func (a *Answer) queryResult(w http.ResponseWriter, operation string, result any) error {
	encoder := xml.NewEncoder(w)
	envelope := xml.StartElement{
		Name: xml.Name{Local: operation + "Response"},
		Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: a.Namespace}},
	}
	if err := encoder.EncodeToken(envelope); err != nil {
		return err
	}
	if result != nil {
		if err := encoder.EncodeElement(result, xml.StartElement{
			Name: xml.Name{Local: operation + "Result"},
		}); err != nil {
			return err
		}
	}
	metadata := struct{ RequestId string }{a.RequestID}
	if err := encoder.EncodeElement(metadata, xml.StartElement{Name: xml.Name{Local: "ResponseMetadata"}}); err != nil {
		return err
	}
	if err := encoder.EncodeToken(envelope.End()); err != nil {
		return err
	}
	return encoder.Flush()
}

func encodeXML(w http.ResponseWriter, body any) error {
	if _, err := w.Write([]byte(xml.Header)); err != nil {
		return err
	}
	return xml.NewEncoder(w).Encode(body)
}

func (a *Answer) writeJSON(status int, contentType string, body any) error {
	return a.write(status, contentType, func(w http.ResponseWriter) error { return json.NewEncoder(w).Encode(body) })
}

func (a *Answer) write(status int, contentType string, body func(http.ResponseWriter) error) error {
	header := a.Writer.Header()
	if contentType != "" {
		header.Set("Content-Type", contentType)
	}
	header.Set("X-Amzn-Requestid", a.RequestID)
	if a.Protocol == S3 {
		header.Set("X-Amz-Request-Id", a.RequestID)
	}
	a.Writer.WriteHeader(status)
	if a.Head {
		return nil
	}
	return body(a.Writer)
}
