package rawjson_test

import (
	"testing"

	"github.com/rolecall/rolecall/internal/rawjson"
)

// TestTwice: a member that readers may find twice is found, however it is written.
func TestTwice(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"keys":[],"keys":[]}`:                 "keys",
		`{"keys":[],"KEYS":[]}`:                 "KEYS",
		`{"keys":[],"\u006beys":[]}`:            "keys",
		`{"keys":[],"\u212aeys":[]}`:            "\u212aeys",
		`{"keys":[{"kid":"a","\u004bid":1}]}`:   "Kid",
		`[[{"n":1,"m":{"n":2}},{"e":1,"e":2}]]`: "e",
		`{"jwks_uri":1,"jwk\u017f_uri":2}`:      "jwk\u017f_uri",
		`{"n":1,"m":{"n":2},"o":[{"n":3}]}`:     "",
		`{"n":1,"n":2`:                          "",
		`{"n":1,"n":2} {}`:                      "",
		`null`:                                  "",
	} {
		if got, found := rawjson.Twice([]byte(text)); got != want || found != (want != "") {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
