package docs

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// maxWidth is the number of columns of prose and comments.
const maxWidth = 100

// text is prose to check: lines of one file, without code.
type text struct {
	lines []line
}

// line is one line of prose.
type line struct {
	number int
	// words is the text without markup, link targets, code and heading marks.
	words string
	// width is the number of columns, without link targets.
	width int
	// starts is true at the start of a paragraph, list item or table cell.
	starts bool
	// wide permits any width: tables and headings.
	wide bool
}

// finding is a violation of a rule, with advice.
type finding struct {
	line   int
	advice string
}

func (f finding) String() string { return fmt.Sprintf("line %d: %s", f.line, f.advice) }

// pronouns are the words with a limited rate: each makes a reader look back for its noun.
var pronouns = regexp.MustCompile(`(?i)\b(who|whom|whose|whoever|what|whatever|which|whichever|that|it|they|them|those|one|ones|nobody|somebody|anybody|everybody)\b`)

var (
	word = regexp.MustCompile(`[\pL\pN][\pL\pN'’_-]*`)
	// opening matches a sentence that begins with who or what.
	opening = regexp.MustCompile(`(?:^|[.!?]["')]?\s+)((?:Who|What)(?:ever|se)?)\b`)
	// participle matches the verbs in use here.
	participle = `(?:[a-z]{3,}ed|done|read|written|sent|made|found|held|kept|taken|told|given|known|built|put|go|come|say|tell|answer|stop|wait)`
	// causative matches "has X done": a noun between the verb and its participle.
	causative = regexp.MustCompile(`(?i)\b(?:has|have|had|having)\s+(?:the|a|an|its|their|one|each|every|all|those|this|these|what|them|it|others|nobody|nothing)\s+(?:[\pL-]+\s+){0,2}` + participle + `\s*(?:[.,;:)]|$|\s(?:again|anew|once|more|all|and|when|as)\b)`)
	oneThat   = regexp.MustCompile(`(?i)\bones?\s+(?:that|which|who)\b`)
)

// rate returns the number of pronouns in 100 words.
func (t text) rate() float64 {
	words, found := 0, 0
	for _, l := range t.lines {
		words += len(word.FindAllString(l.words, -1))
		found += len(pronouns.FindAllString(l.words, -1))
	}
	if words == 0 {
		return 0
	}
	return 100 * float64(found) / float64(words)
}

// check returns the violations of all rules except the rate, in the order of lines.
func (t text) check() (found []finding) {
	paragraph, starts, first := "", []int{}, 0
	flush := func() {
		found = append(found, checkSentences(paragraph, starts, first)...)
		paragraph, starts = "", nil
	}
	for _, l := range t.lines {
		if !l.wide && l.width > maxWidth {
			found = append(found, finding{l.number, fmt.Sprintf("%d columns: wrap at %d", l.width, maxWidth)})
		}
		if l.starts {
			flush()
			first = l.number
		}
		starts = append(starts, len(paragraph))
		paragraph += l.words + " "
	}
	flush()
	return found
}

// checkSentences checks a paragraph. starts are the offsets of its lines, the first of them
// numbered first.
func checkSentences(paragraph string, starts []int, first int) (found []finding) {
	at := func(offset int) int {
		number := first - 1
		for _, start := range starts {
			if start <= offset {
				number++
			}
		}
		return number
	}
	for _, m := range opening.FindAllStringSubmatchIndex(paragraph, -1) {
		found = append(found, finding{at(m[2]), fmt.Sprintf("a sentence begins with %q: begin with the thing, then a verb", paragraph[m[2]:m[3]])})
	}
	for _, m := range causative.FindAllStringIndex(paragraph, -1) {
		found = append(found, finding{at(m[0]), fmt.Sprintf("%q: name the actor and use its verb", strings.TrimSpace(paragraph[m[0]:m[1]]))})
	}
	for _, m := range oneThat.FindAllStringIndex(paragraph, -1) {
		found = append(found, finding{at(m[0]), fmt.Sprintf("%q: repeat the noun", paragraph[m[0]:m[1]])})
	}
	return found
}

var (
	inlineCode = regexp.MustCompile("`[^`]*`")
	linkTarget = regexp.MustCompile(`\]\([^)]*\)`)
	address    = regexp.MustCompile(`https?://\S+`)
	// item matches the mark of a list item, or of a quotation.
	item = regexp.MustCompile(`^\s*(?:[*-]|\d+\.|>)\s+`)
)

// plainWords removes markup. A code span counts as one word.
func plainWords(s string) string {
	s = inlineCode.ReplaceAllString(s, "code")
	s = linkTarget.ReplaceAllString(s, "]")
	s = address.ReplaceAllString(s, "address")
	return strings.NewReplacer("**", "", "*", "", "[", "", "]", "", "!", "").Replace(s)
}

// widthOf returns the columns of a line. The targets of links do not count.
func widthOf(s string) int {
	return utf8.RuneCountInString(address.ReplaceAllString(linkTarget.ReplaceAllString(s, "]"), ""))
}

// markdown reads a page. Code blocks, comments, generated tables and quoted messages are left out.
func markdown(page string) (t text) {
	code, comment, starts := false, false, true
	for number, raw := range strings.Split(page, "\n") {
		trimmed := strings.TrimSpace(raw)
		switch {
		case strings.HasPrefix(trimmed, "```"):
			code, starts = !code, true
			continue
		case code:
			continue
		case strings.HasPrefix(trimmed, "<!--") && strings.HasSuffix(trimmed, "begins -->"):
			comment = true
		case strings.HasPrefix(trimmed, "<!--") && strings.HasSuffix(trimmed, "ends -->"):
			comment = false
			continue
		}
		if comment || strings.HasPrefix(trimmed, "<!--") {
			continue
		}
		switch {
		case trimmed == "":
			starts = true
		case strings.HasPrefix(trimmed, "#"):
			starts = true
		case strings.HasPrefix(trimmed, "|"):
			t.lines = append(t.lines, cells(number+1, trimmed)...)
			starts = true
		default:
			isItem := item.MatchString(raw)
			t.lines = append(t.lines, line{number + 1, plainWords(item.ReplaceAllString(raw, "")), widthOf(raw), starts || isItem, false})
			starts = false
		}
	}
	return t
}

// cells reads a row of a table.
func cells(number int, row string) (lines []line) {
	if strings.Trim(row, "|-: ") == "" {
		return nil
	}
	for cell := range strings.SplitSeq(strings.Trim(plainWords(row), "| "), " | ") {
		lines = append(lines, line{number, strings.TrimSpace(cell), 0, true, true})
	}
	return lines
}
