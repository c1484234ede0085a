// Package ssm is local AWS's Parameter Store, the part of Systems Manager that
// programs read their settings from.
//
// It has no documents, managed nodes or keys: a SecureString is stored like the
// rest, and KMS plays no part.
package ssm

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// New returns SSM. It keeps nothing itself: each call brings its account.
func New() *service.Service {
	return &service.Service{
		Name:     "ssm",
		Protocol: wire.JSON11,
		Target:   "AmazonSSM",
		Tables:   []account.Table{parameterTable},
		Operations: map[string]service.Operation{
			"PutParameter":            {Access: service.Signed, Do: serve(putParameter)},
			"GetParameter":            {Access: service.Signed, Do: serve(getParameter)},
			"GetParameters":           {Access: service.Signed, Do: serve(getParameters)},
			"GetParametersByPath":     {Access: service.Signed, Do: serve(getByPath)},
			"GetParameterHistory":     {Access: service.Signed, Do: serve(getHistory)},
			"DeleteParameter":         {Access: service.Signed, Do: serve(deleteParameter)},
			"DeleteParameters":        {Access: service.Signed, Do: serve(deleteParameters)},
			"DescribeParameters":      {Access: service.Signed, Do: serve(describeParameters)},
			"LabelParameterVersion":   {Access: service.Signed, Do: serve(labelVersion)},
			"AddTagsToResource":       {Access: service.Signed, Do: serve(addTags)},
			"RemoveTagsFromResource":  {Access: service.Signed, Do: serve(removeTags)},
			"ListTagsForResource":     {Access: service.Signed, Do: serve(listTags)},
			"UnlabelParameterVersion": {Access: service.Signed, Do: serve(unlabelVersion)},
		},
	}
}

// call is one call of SSM.
type call struct {
	*service.Call
}

// serve reads an operation's input.
func serve[In any](do func(*call, *In) (any, error)) func(*service.Call) (any, error) {
	return func(q *service.Call) (any, error) {
		in := new(In)
		if err := parse(q.Body, in); err != nil {
			return nil, err
		}
		return do(&call{q}, in)
	}
}

// parse reads one JSON object. Unknown members are ignored, as AWS does.
func parse(body []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	err := decoder.Decode(into)
	if errors.Is(err, io.EOF) { // nothing at all is an empty object
		return nil
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return refuse(
			"SerializationException", "%s can not be converted to %s", strings.ToUpper(wrong.Value), wrong.Type,
		)
	}
	if err != nil || decoder.More() {
		return refuse("SerializationException", "the body is not a JSON object")
	}
	return nil
}

func refuse(code, format string, args ...any) error {
	return wire.Errorf(http.StatusBadRequest, code, format, args...)
}

func invalid(format string, args ...any) error { return refuse("ValidationException", format, args...) }

func notFound(name string) error {
	return wire.Errorf(http.StatusBadRequest, "ParameterNotFound", "").Because("there is no parameter %q", name)
}

// arn is a parameter's ARN: the slash that begins a hierarchical name is not
// doubled.
func (c *call) arn(name string) string {
	return "arn:" + c.Account.Partition + ":ssm:" + c.Region + ":" + c.Account.ID + ":parameter/" +
		strings.TrimPrefix(name, "/")
}

// allow decides an action on a parameter, which need not exist.
func (c *call) allow(action, name string, tags []account.Tag, more map[string]string) error {
	return c.allowOn(action, c.arn(name), tags, more)
}

func (c *call) allowOn(action, arn string, tags []account.Tag, more map[string]string) error {
	target := service.Target{ARN: arn, Tags: tags, Context: map[string]string{}}
	for _, tag := range tags {
		target.Context["ssm:resourceTag/"+tag.Key] = tag.Value
	}
	maps.Copy(target.Context, more)
	return c.Allow("ssm:"+action, target)
}

// find returns a parameter; nil if there is none.
func (c *call) find(name string) (found *Parameter, err error) {
	err = c.Account.View(func(state account.State) error {
		found, err = optional(lookUp(state, c.Region, name))
		return err
	})
	return found, err
}

// allowed finds a parameter and decides an action on it. Those who may not see
// a parameter do not learn whether it exists.
func (c *call) allowed(action, name string) (*Parameter, error) {
	found, err := c.find(name)
	if err != nil {
		return nil, err
	}
	var tags []account.Tag
	if found != nil {
		tags = found.Tags
	}
	if err := c.allow(action, name, tags, nil); err != nil {
		return nil, err
	}
	if found == nil {
		return nil, notFound(name)
	}
	return found, nil
}

func optional[T any](found *T, err error) (*T, error) {
	if errors.Is(err, account.ErrNotFound) {
		return nil, nil //nolint:nilnil // nil says that there is none
	}
	return found, err
}

// change changes a parameter, all or nothing.
func (c *call) change(name string, f func(*Parameter) error) error {
	return c.Account.Update(func(state account.State) error {
		found, err := optional(lookUp(state, c.Region, name))
		if err != nil {
			return err
		}
		if found == nil {
			return notFound(name)
		}
		if err := f(found); err != nil {
			return err
		}
		return keep(state, c.Region, found)
	})
}

// Tokens of pages are opaque to callers, and belong to one kind of list.
func sealToken(kind, last string) string {
	return base64.URLEncoding.EncodeToString([]byte(kind + "\x00" + last))
}

func openToken(kind, token string) (string, error) {
	if token == "" {
		return "", nil
	}
	text, err := base64.URLEncoding.DecodeString(token)
	last, found := strings.CutPrefix(string(text), kind+"\x00")
	if err != nil || !found {
		return "", refuse("InvalidNextToken", "The specified token is not valid.")
	}
	return last, nil
}

// pageSize checks MaxResults; a nil one is the largest.
func pageSize(given *int, low, high int) (int, error) {
	if given == nil {
		return high, nil
	}
	if *given < low || *given > high {
		bound := fmt.Sprintf("less than or equal to %d", high)
		if *given < low {
			bound = fmt.Sprintf("greater than or equal to %d", low)
		}
		return 0, invalid(
			"1 validation error detected: Value '%d' at 'maxResults' failed to satisfy constraint: Member must have "+
				"value %s",
			*given, bound,
		)
	}
	return *given, nil
}
