package iam

import (
	"encoding/base64"
	"math/big"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

type contextKeys struct{ ContextKeyNames wire.List[string] }

func contextKeysOfCustom(q *service.Call) (any, error) {
	given, err := sources(q, "PolicyInputList", policy.Identity)
	if err != nil {
		return nil, err
	}
	if len(given) == 0 {
		q.Violate("Value null at 'policyInputList' failed to satisfy constraint: Member must not be null")
	}
	return keysOf(given), q.Check()
}

func contextKeysOfPrincipal(q *service.Call) (any, error) {
	s, err := principalOf(q)
	if err != nil {
		return nil, err
	}
	more, err := sources(q, "PolicyInputList", policy.Identity)
	return keysOf(append(s.identity, more...)), err
}

func keysOf(documents []source) contextKeys {
	var keys []string
	for _, document := range documents {
		for _, statement := range document.parsed.Outline() {
			keys = append(keys, statement.Keys...)
		}
	}
	slices.Sort(keys)
	return contextKeys{slices.Compact(keys)}
}

// contextEntries reads the condition keys of a simulation.
func contextEntries(q *service.Call) (*policy.Context, error) {
	context := policy.NewContext()
	for _, m := range q.Members("ContextEntries") {
		key, kind := q.Get(m+".ContextKeyName"), q.Get(m+".ContextKeyType")
		texts := q.List(m + ".ContextKeyValues")
		if len(key) < 5 || len(key) > 256 {
			return nil, invalidInput("Invalid Context Key Name: %s.", key)
		}
		single, isList := strings.CutSuffix(kind, "List")
		if kind == "" {
			single = "string"
		}
		fits, known := contextTypes[single]
		if !known {
			q.Violate(
				"Value '%s' at '%s.contextKeyType' failed to satisfy constraint: Member must satisfy enum value "+
					"set: [string, stringList, numeric, numericList, boolean, booleanList, ip, ipList, binary, "+
					"binaryList, date, dateList]",
				kind, m,
			)
			return nil, q.Check()
		}
		for _, text := range texts {
			if !fits(text) {
				return nil, invalidInput("Context value %s of key %s is not of type %s.", text, key, single)
			}
		}
		switch {
		case isList || len(texts) > 1:
			context.SetMulti(key, texts)
		case len(texts) == 1:
			context.Set(key, texts[0])
		}
	}
	return context, nil
}

// contextTypes say whether a text can be of a type.
var contextTypes = map[string]func(string) bool{
	"string": func(string) bool { return true },
	"numeric": func(text string) bool {
		_, isNumber := new(big.Float).SetString(text)
		return isNumber
	},
	"boolean": func(text string) bool { return strings.EqualFold(text, "true") || strings.EqualFold(text, "false") },
	"ip": func(text string) bool {
		_, err := netip.ParseAddr(text)
		_, errOfRange := netip.ParsePrefix(text)
		return err == nil || errOfRange == nil
	},
	"binary": func(text string) bool {
		_, err := base64.StdEncoding.DecodeString(text)
		return err == nil
	},
	"date": func(text string) bool {
		if _, err := strconv.ParseInt(text, 10, 64); err == nil {
			return true
		}
		return slices.ContainsFunc([]string{
			time.RFC3339, "2006-01-02T15:04Z07:00", time.DateOnly, "2006-01-02T15:04:05", "2006-01", "2006",
		}, func(layout string) bool {
			_, err := time.Parse(layout, text)
			return err == nil
		})
	},
}
