package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
)

// demoStep is one thing that happened: what was asked, by whom, what was
// checked, and what came of it.
type demoStep struct {
	Title   string   `json:"title"`
	Asked   string   `json:"asked"`
	By      string   `json:"by"`
	Checked []string `json:"checked,omitempty"`
	Answer  string   `json:"answer"`
	// Refusal is set when AWS said no.
	Refusal *demoRefusal `json:"refusal,omitempty"`
	// Expected must stand in the answer, or be the refusal's code.
	Expected       string `json:"-"`
	ExpectedReason string `json:"-"`
	OK             bool   `json:"ok"`
}

type demoRefusal struct {
	Operation string `json:"operation"`
	Code      string `json:"code"`
	Status    int    `json:"status"`
	Message   string `json:"message"`
	RequestID string `json:"requestId"`
	Reason    string `json:"reason,omitempty"`
}

func (s *demoStep) refusedBy(answer *whoamiError, reason string) {
	s.Answer = ""
	s.Refusal = &demoRefusal{answer.Operation, answer.Code, answer.Status, answer.Message, answer.RequestID, reason}
}

// judge sets OK: a step that expects a refusal must meet that code and a reason
// that names what is wrong; every other step must answer what is expected.
func (s *demoStep) judge() {
	switch {
	case s.ExpectedReason != "":
		s.OK = s.Refusal != nil && s.Refusal.Code == s.Expected && strings.Contains(s.Refusal.Reason, s.ExpectedReason)
	default:
		s.OK = s.Refusal == nil && strings.Contains(s.Answer, s.Expected)
	}
}

// demoReport prints steps as they happen, or all of them as JSON at the end.
type demoReport struct {
	out   io.Writer
	json  bool
	steps []demoStep
}

func newDemoReport(out io.Writer, format string) *demoReport {
	return &demoReport{out: out, json: format == "json"}
}

func (r *demoReport) add(step demoStep) {
	step.judge()
	r.steps = append(r.steps, step)
	if !r.json {
		r.print(len(r.steps), &step)
	}
}

func (r *demoReport) print(number int, step *demoStep) {
	fmt.Fprintf(r.out, "%d. %s\n   asked    %s\n   by       %s\n", number, step.Title, step.Asked, step.By)
	for i, line := range step.Checked {
		label := "checked"
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(r.out, "   %-8s %s\n", label, line)
	}
	if step.Refusal != nil {
		fmt.Fprintf(r.out, "   refused  %s (%d): %s\n", step.Refusal.Code, step.Refusal.Status, step.Refusal.Message)
		if step.Refusal.Reason != "" {
			fmt.Fprintf(r.out, "   because  %s\n", step.Refusal.Reason)
		}
	} else {
		fmt.Fprintf(r.out, "   answer   %s\n", step.Answer)
	}
	if !step.OK {
		fmt.Fprintf(r.out, "   WRONG    expected %s %s\n", step.Expected, step.ExpectedReason)
	}
	fmt.Fprintln(r.out)
}

// finish prints the end and reports whether every step did what it says.
func (r *demoReport) finish() error {
	wrong := 0
	for i := range r.steps {
		if !r.steps[i].OK {
			wrong++
		}
	}
	if err := r.printJSON(wrong == 0); err != nil {
		return err
	}
	if wrong > 0 {
		return fault.New(fault.Internal, "%d of %d steps did not do what they say", wrong, len(r.steps))
	}
	if !r.json {
		fmt.Fprintf(r.out, "All %d steps did what they say. Next: rolecall up\n", len(r.steps))
	}
	return nil
}

// abort ends a walk that could not go on; what happened so far is still
// reported.
func (r *demoReport) abort(cause error) error {
	return errors.Join(cause, r.printJSON(false))
}

func (r *demoReport) printJSON(ok bool) error {
	if !r.json {
		return nil
	}
	encoder := json.NewEncoder(r.out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(map[string]any{"steps": r.steps, "ok": ok}); err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	return nil
}
