package webhook

import (
	"encoding/base64"
	"encoding/json"

	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/rawjson"
)

// review is what is looked at of an AdmissionReview; versions v1 and v1beta1
// have one form.
type review struct {
	// version and kind are given back; both are empty if it is not an AdmissionReview.
	version, kind string
	hasRequest    bool
	uid           []byte
	namespace     string
	// other says that the request is not about the creation of a pod.
	other  bool
	dryRun bool
	object []byte
	head   inject.Head
	// noPod says why the object is not a pod.
	noPod string
}

// readReview reads a review in one pass. Anything else has no request, and is
// answered as bad content. The reference does not look at kind and apiVersion, which its
// own sample request leaves out; with conformance they are as they are.
func readReview(body []byte, conformance bool) review {
	var v review
	var kind, version []byte
	r := rawjson.NewReader(body)
	err := r.Object(func(name []byte) (err error) {
		switch string(name) {
		case "apiVersion":
			version, err = r.Bytes()
		case "kind":
			kind, err = r.Bytes()
		case "request":
			v.hasRequest = r.Kind() == '{'
			err = r.Object(func(name []byte) error { return v.readRequest(r, name) })
		default:
			err = r.Skip()
		}
		return err
	})
	if err == nil {
		err = r.End()
	}
	switch {
	case err != nil:
		return review{}
	case conformance:
		v.kind, v.version = string(kind), string(version)
		return v
	case string(kind) != "AdmissionReview":
		return review{}
	}
	v.kind, v.version = "AdmissionReview", knownVersion(version)
	if v.version == "" {
		v.kind, v.hasRequest = "", false
	}
	return v
}

func knownVersion(text []byte) string {
	switch string(text) {
	case "admission.k8s.io/v1":
		return "admission.k8s.io/v1"
	case "admission.k8s.io/v1beta1":
		return "admission.k8s.io/v1beta1"
	}
	return ""
}

func (v *review) readRequest(r *rawjson.Reader, name []byte) (err error) {
	var text []byte
	switch string(name) {
	case "uid":
		v.uid, err = r.Bytes()
	case "namespace":
		v.namespace, err = r.String()
	case "operation":
		text, err = r.Bytes()
		v.other = v.other || len(text) > 0 && string(text) != "CREATE"
	case "subResource":
		text, err = r.Bytes()
		v.other = v.other || len(text) > 0
	case "dryRun":
		v.dryRun = r.Kind() == 't'
		err = r.Skip()
	case "resource":
		err = r.Object(func(name []byte) error {
			if string(name) != "resource" {
				return r.Skip()
			}
			text, err := r.Bytes()
			v.other = v.other || len(text) > 0 && string(text) != "pods"
			return err
		})
	case "object":
		return v.readObject(r)
	default:
		err = r.Skip()
	}
	return err
}

// readObject reads the pod's head. An object that is not a pod is passed over, so
// that the rest of the review can be answered.
func (v *review) readObject(r *rawjson.Reader) error {
	if r.Null() {
		return nil
	}
	start := r.At()
	if r.Kind() == '{' {
		at := *r
		head, err := inject.ReadHead(r)
		if err == nil {
			v.head, v.object = head, r.Text(start)
			return nil
		}
		v.noPod = err.Error()
		*r = at
	}
	err := r.Skip()
	v.object = r.Text(start)
	return err
}

// answer is a response without its uid.
type answer struct {
	allowed  bool
	message  string // of a denial
	code     int    // of a denial; 0 leaves it out
	patch    []byte
	warnings []string
	// audit goes into the API server's audit log, under the webhook's name.
	audit []annotation
}

type annotation struct{ key, value string }

func allow() answer { return answer{allowed: true} }

func deny(message string) answer { return answer{message: message} }

// appendAnswer writes an AdmissionReview. API servers compare the version and
// the uid of v1 with what they sent (spec webhook §1.4).
func appendAnswer(out []byte, v *review, a *answer) []byte {
	out = append(out, '{')
	if v.kind != "" {
		out = append(appendText(append(out, `"kind":`...), v.kind), ',')
	}
	if v.version != "" {
		out = append(appendText(append(out, `"apiVersion":`...), v.version), ',')
	}
	out = append(out, `"response":{"uid":`...)
	out = appendText(out, string(v.uid))
	if a.allowed {
		out = append(out, `,"allowed":true`...)
	} else {
		out = append(out, `,"allowed":false,"status":{"metadata":{},"message":`...)
		out = appendText(out, a.message)
		if a.code != 0 {
			out = append(out, `,"reason":"Forbidden","code":403`...)
		}
		out = append(out, '}')
	}
	if len(a.patch) > 0 {
		out = append(out, `,"patch":"`...)
		out = base64.StdEncoding.AppendEncode(out, a.patch)
		out = append(out, `","patchType":"JSONPatch"`...)
	}
	for i, annotation := range a.audit {
		out = append(out, separator(i, `,"auditAnnotations":{`)...)
		out = append(appendText(out, annotation.key), ':')
		out = appendText(out, annotation.value)
	}
	if len(a.audit) > 0 {
		out = append(out, '}')
	}
	for i, warning := range a.warnings {
		out = append(out, separator(i, `,"warnings":[`)...)
		out = appendText(out, warning)
	}
	if len(a.warnings) > 0 {
		out = append(out, ']')
	}
	return append(out, "}}"...)
}

func separator(i int, first string) string {
	if i == 0 {
		return first
	}
	return ","
}

// appendText writes a JSON string; plain ones without help.
func appendText(out []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(text)
			if err != nil { // a string always can be
				return append(out, `""`...)
			}
			return append(out, quoted...)
		}
	}
	out = append(out, '"')
	out = append(out, text...)
	return append(out, '"')
}
