package policy

import (
	"fmt"
	"testing"
)

// TestMatchersAgree compares both matchers with the definition, on all short texts.
func TestMatchersAgree(t *testing.T) {
	t.Parallel()
	values := words("ab", 4)
	for _, source := range words("ab*?", 3) {
		ops := compilePattern(source, true, false).ops
		wide := widen(ops)
		for _, value := range values {
			want := naive(ops, value)
			if got := matchOps(ops, value, false); got != want {
				t.Fatalf("%q and %q: %t, want %t", source, value, got, want)
			}
			if got := matchUnits(wide, units(value)); got != want {
				t.Fatalf("%q and %q in code units: %t, want %t", source, value, got, want)
			}
		}
	}
}

// TestOnlyTwoWildcards: any other character stands for itself, in both matchers.
func TestOnlyTwoWildcards(t *testing.T) {
	t.Parallel()
	for b := range 256 {
		source := string([]byte{byte(b)})
		if source == "*" || source == "?" {
			continue
		}
		if got := matchOps(compilePattern(source, true, false).ops, "a", false); got != (source == "a") {
			t.Errorf("%q matches a: %t", source, got)
		}
	}
	for char := rune(0); char <= 0xffff; char++ {
		source := string(char)
		if source == "*" || source == "?" {
			continue
		}
		wide := widen(compilePattern(source, true, false).ops)
		if got := matchUnits(wide, units("a")); got != (source == "a") {
			t.Errorf("%q matches a in code units: %t", source, got)
		}
	}
}

func TestWideCharacters(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"": false, "a": false, "é": false, "\uffff": false, "\U00010000": true, "a\U0010ffff": true,
	} {
		if got := hasWideCharacter(text); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
}

// TestNamesInARNsFold: partition, service and region in whatever case, the rest as
// it is written.
func TestNamesInARNsFold(t *testing.T) {
	t.Parallel()
	const value = "arn:aws:sqs:eu-west-1:a:q"
	for source, fold := range map[string]bool{
		"ARN:aws:sqs:eu-west-1:a:q": false,
		"arn:AWS:sqs:eu-west-1:a:q": true,
		"arn:aws:SQS:eu-west-1:a:q": true,
		"arn:aws:sqs:EU-west-1:a:q": true,
		"arn:aws:sqs:eu-west-1:A:q": false,
		"arn:aws:sqs:eu-west-1:a:Q": false,
	} {
		parts := splitOps(compilePattern(source, true, false).ops)
		if got := matchARN(parts, value, true); got != fold {
			t.Errorf("%s in a Resource: %t, want %t", source, got, fold)
		}
		if matchARN(parts, value, false) {
			t.Errorf("%s in a Condition matches", source)
		}
	}
}

// TestCompletedResources: who completes short ARNs; whole ones are never changed.
func TestCompletedResources(t *testing.T) {
	t.Parallel()
	const value = "arn:aws:s3:::b"
	for source, want := range map[string][]Kind{
		"arn:aws:s3:::b": {Identity, Boundary, Session, Resource, SCP, RCP, Endpoint},
		"arn:aws:s3:::*": {Identity, Boundary, Session, Resource, SCP, RCP, Endpoint},
		"arn:aws:s3:*":   {Identity, Boundary, Session, Resource, SCP, Endpoint},
		"arn:*:s3":       {Identity, Boundary, Session, Resource, Endpoint},
		"arn:aws:s3":     {Identity, Boundary, Session},
	} {
		var got []Kind
		for _, kind := range []Kind{Identity, Boundary, Session, Resource, SCP, RCP, Endpoint} {
			pattern := compileResource(&node{kind: stringNode, text: source}, kind, true)
			if pattern.match(&Request{Resource: value}, value) {
				got = append(got, kind)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s matches in %v, want %v", source, got, want)
		}
	}
}
